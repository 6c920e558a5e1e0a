//! The requests of a trace file.
use super::{Wanted, few_enough};
use crate::files::trace::Cut;
use crate::files::{Files, TableError};
use crate::resolve::fault::Fault;
use crate::schema::Workload;
use actors::time::Duration;

/// Returns the requests of a trace, ordered by time, and the time during which they arrive.
pub(super) fn arrivals(workload: &Workload, files: &Files) -> Result<(Vec<Wanted>, Duration), Fault> {
    let Workload::Trace { clients, file, columns, ignore, skip, duration, limit, speed, .. } = workload else {
        return Ok((Vec::new(), Duration::ZERO));
    };
    if !(1e-6..=1e6).contains(speed) {
        return Err(Fault::new("workload.speed", format!("speed is {speed}, but must be a factor from 1e-6 to 1e6")));
    }
    let cut = Cut {
        file: file.clone(),
        columns: *columns,
        ignore: ignore.clone(),
        skip: skip.duration(),
        duration: duration.map(|duration| duration.duration()),
        limit: *limit,
    };
    let recorded = files.trace(&cut).map_err(|error| Fault::table("workload.file", error))?;
    few_enough("workload.file", recorded.len())
        .map_err(|fault| fault.help("cut the trace with a `duration` or a `limit`"))?;
    let mut wanted = Vec::with_capacity(recorded.len());
    for (index, request) in recorded.iter().enumerate() {
        let client = request.client.unwrap_or(index as u32 % clients);
        if client >= *clients {
            let message =
                format!("the request names client {client}, but the workload has {clients} clients, numbered from 0");
            let error = TableError::at(file, request.place.line, request.place.client, message);
            return Err(
                Fault::table("workload.clients", error).help("raise `clients`, or correct the numbers in the trace")
            );
        }
        let names = request.route.split('>').map(str::trim).filter(|name| !name.is_empty());
        wanted.push(Wanted {
            at: Duration::from_secs_f64(request.at.as_secs_f64() / speed),
            prompt: request.prompt,
            generate: request.generate,
            client,
            route: names.map(str::to_owned).collect(),
            place: request.place,
        });
    }
    let last = wanted.last().map_or(Duration::ZERO, |wanted| wanted.at);
    // `whole` is the time during which requests arrive: the whole `duration`, if it is set and the trace did not reach
    // `limit` first. Otherwise requests arrive until the last request.
    let limited = limit.is_some_and(|limit| wanted.len() >= limit as usize);
    let whole =
        duration.filter(|_| !limited).map(|time| Duration::from_secs_f64(time.duration().as_secs_f64() / speed));
    Ok((wanted, whole.unwrap_or(last)))
}
