//! Entry points for the fuzz targets: they decode and encode the private formats that the processes of a live run
//! exchange.
use super::control::{Answer, Greeting, Invitation, Order, Purpose, Token};
use super::wire::{self, Kind, WireError};
use actors::id::HostId;
use actors::time::Timestamp;
use scenarios::plan::Plan;

/// Reads the body of the first frame on a connection.
///
/// # Errors
/// If the bytes are no greeting.
pub fn greeting(body: &[u8]) -> Result<(), WireError> {
    wire::read::<Greeting>(body).map(drop)
}

/// Decodes the body of a control frame, both as a host's process and as the run controller would.
///
/// # Errors
/// If the bytes are neither an order nor an answer.
pub fn control(body: &[u8]) -> Result<(), WireError> {
    let order = wire::read::<Order>(body).map(drop);
    wire::read::<Answer>(body).map(drop).or(order)
}

/// Reads the first line of a host process's stdin.
///
/// # Errors
/// If the text is no invitation to a run.
pub fn invitation(line: &str) -> Result<(), serde_json::Error> {
    serde_json::from_str::<Invitation>(line).map(drop)
}

/// Encodes a greeting, and the order that gives a host its plan, as whole frames.
///
/// # Errors
/// If the plan is larger than a frame.
pub fn frames(plan: &Plan) -> Result<[Vec<u8>; 2], WireError> {
    let token = Token::draw()?;
    let greeting = Greeting { token, host: HostId(1), incarnation: 0, purpose: Purpose::Join { port: 4000 } };
    let order = Order::Spawn { plan: Box::new(plan.clone()), book: vec![None], started: Timestamp(1) };
    Ok([wire::plain(Kind::Greeting, &greeting)?, wire::plain(Kind::Control, &order)?])
}
