//! The look of charts: colours that colour-blind readers can distinguish, markers and dashes that repeat the
//! distinction, and one font.
use plotters::style::RGBColor;
use plotters::style::{FontStyle, register_font};
use std::sync::Once;

/// The bundled font in its normal weight. The licence of the font is in the same folder.
pub const REGULAR: &[u8] = include_bytes!("../fonts/Inter-Regular.otf");
pub const SEMIBOLD: &[u8] = include_bytes!("../fonts/Inter-SemiBold.otf");
pub const FONT: &str = "Inter";

/// Registers the font with plotters, which measures text with it.
pub fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Registration cannot fail: the bytes are a bundled font, and a test draws with it.
        let _ = register_font(FONT, FontStyle::Normal, REGULAR);
        let _ = register_font(FONT, FontStyle::Bold, SEMIBOLD);
    });
}

pub const INK: RGBColor = RGBColor(34, 34, 34);
pub const FAINT: RGBColor = RGBColor(96, 96, 96);
pub const AXIS: RGBColor = RGBColor(120, 120, 120);
pub const GRID: RGBColor = RGBColor(226, 226, 226);
pub const PAPER: RGBColor = RGBColor(255, 255, 255);

/// The maximum number of series in one panel. More series are spread over several panels.
pub const SERIES: usize = 7;

/// The palette of Okabe and Ito 2008, without the yellow that is invisible on white.
pub const PALETTE: [RGBColor; SERIES] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    Circle,
    Square,
    Up,
    Diamond,
    Down,
    Cross,
    Plus,
}

pub const MARKERS: [Marker; SERIES] =
    [Marker::Circle, Marker::Square, Marker::Up, Marker::Diamond, Marker::Down, Marker::Cross, Marker::Plus];

/// The dash patterns of the series: lengths drawn and skipped, in px.
pub const DASHES: [&[f64]; SERIES] =
    [&[], &[7.0, 3.0], &[2.0, 2.5], &[9.0, 3.0, 2.0, 3.0], &[4.0, 2.0], &[12.0, 4.0], &[2.0, 4.0]];

/// A part of a latency: its measure, its name and its colour. The order of the parts is always the same.
pub type Part = (&'static str, &'static str, RGBColor);

const BEFORE_NETWORK: [Part; 5] = [
    ("part_setup_ms", "set-up", RGBColor(120, 120, 120)),
    ("part_client_queue_ms", "client queue", RGBColor(240, 228, 66)),
    ("part_client_ms", "client", RGBColor(230, 159, 0)),
    ("part_peer_queue_ms", "peer queue", RGBColor(204, 121, 167)),
    ("part_compute_ms", "peer compute", RGBColor(0, 158, 115)),
];

/// Returns the parts of a latency with the network as one part. Both live runs and simulations measure these parts.
pub fn parts() -> Vec<Part> {
    let network = ("part_network_ms", "network", RGBColor(0, 114, 178));
    BEFORE_NETWORK.into_iter().chain([network]).collect()
}

/// Returns the parts of a latency with four network parts in blue. These four are known only for simulations and for
/// live runs with a shaped network.
pub fn fine_parts() -> Vec<Part> {
    let network = [
        ("part_send_queue_ms", "send queue", RGBColor(0, 62, 110)),
        ("part_transmit_ms", "transmit", RGBColor(0, 114, 178)),
        ("part_propagation_ms", "propagation", RGBColor(86, 180, 233)),
        ("part_network_other_ms", "other network", RGBColor(190, 224, 245)),
    ];
    BEFORE_NETWORK.into_iter().chain(network).collect()
}

/// Returns a colour of Cividis (Nuñez, Anderton and Renslow 2018), interpolated between nine of its points. The map is
/// perceptually uniform, also for colour-blind readers. `at` is from 0 to 1.
pub fn cividis(at: f64) -> RGBColor {
    const POINTS: [(u8, u8, u8); 9] = [
        (0, 34, 78),
        (27, 53, 108),
        (67, 78, 108),
        (98, 103, 111),
        (125, 124, 120),
        (155, 148, 118),
        (187, 173, 108),
        (221, 201, 90),
        (254, 232, 56),
    ];
    let at = at.clamp(0.0, 1.0) * (POINTS.len() - 1) as f64;
    let below = (at as usize).min(POINTS.len() - 2);
    let mix = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * (at - below as f64)).round() as u8;
    let ((r0, g0, b0), (r1, g1, b1)) = (POINTS[below], POINTS[below + 1]);
    RGBColor(mix(r0, r1), mix(g0, g1), mix(b0, b1))
}

/// Returns black or white, whichever is readable on the colour.
pub fn ink_on(color: RGBColor) -> RGBColor {
    let RGBColor(r, g, b) = color;
    let luminance = 0.299 * f64::from(r) + 0.587 * f64::from(g) + 0.114 * f64::from(b);
    if luminance > 140.0 { INK } else { PAPER }
}
