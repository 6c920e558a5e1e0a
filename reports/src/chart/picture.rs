//! A drawing as files: SVG with its text as outlines, PNG at twice the size, and the figures as CSV.
//!
//! No system font is used, so the same figures give the same bytes on every machine.
use crate::error::{Error, Result};
use crate::files::write_synced;
use crate::theme;
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{self, Options, Tree, WriteOptions};
use std::fs;
use std::path::Path;
use std::sync::{Arc, LazyLock};

/// The number of PNG pixels per pixel of the drawing.
const ZOOM: f32 = 2.0;

/// A finished chart.
#[derive(Clone, Debug)]
pub struct Picture {
    /// The name of the picture's files, without extension.
    pub name: String,
    pub title: String,
    svg: String,
    png: Vec<u8>,
    csv: String,
}

static FONTS: LazyLock<Arc<usvg::fontdb::Database>> = LazyLock::new(|| {
    let mut fonts = usvg::fontdb::Database::new();
    fonts.load_font_data(theme::REGULAR.to_vec());
    fonts.load_font_data(theme::SEMIBOLD.to_vec());
    Arc::new(fonts)
});

impl Picture {
    /// Makes a picture. `drawing` is the SVG of plotters, and `size` is in px. The first of `rows` is the header.
    ///
    /// # Errors
    /// The drawing cannot be converted.
    pub fn new(name: &str, title: &str, drawing: &str, size: (f64, f64), rows: &[Vec<String>]) -> Result<Picture> {
        let options = Options { fontdb: Arc::clone(&FONTS), font_family: theme::FONT.to_owned(), ..Options::default() };
        let wrong = |why: String| Error::Chart { chart: name.to_owned(), why };
        let tree = Tree::from_str(&resize(drawing, size), &options).map_err(|error| wrong(error.to_string()))?;
        let pixels = (size.0 as f32 * ZOOM, size.1 as f32 * ZOOM);
        let mut pixmap =
            Pixmap::new(pixels.0 as u32, pixels.1 as u32).ok_or_else(|| wrong("the picture is empty".to_owned()))?;
        resvg::render(&tree, Transform::from_scale(ZOOM, ZOOM), &mut pixmap.as_mut());
        let png = pixmap.encode_png().map_err(|error| wrong(error.to_string()))?;
        let svg = tree.to_string(&WriteOptions::default());
        Ok(Picture { name: name.to_owned(), title: title.to_owned(), svg, png, csv: to_csv(rows)? })
    }

    /// Writes `<name>.svg`, `.png` and `.csv` in `dir`: all of them, or none.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&self, dir: &Path) -> Result<()> {
        let files = [("svg", self.svg.as_bytes()), ("png", &self.png), ("csv", self.csv.as_bytes())];
        let files = files.map(|(extension, bytes)| (dir.join(format!("{}.{extension}", self.name)), bytes));
        let written = fs::create_dir_all(dir).map_err(Error::io(dir));
        let written = written.and_then(|()| files.iter().try_for_each(|(path, bytes)| write_synced(path, bytes)));
        if written.is_err() {
            files.iter().for_each(|(path, _)| drop(fs::remove_file(path)));
        }
        written
    }

    pub fn svg(&self) -> &str {
        &self.svg
    }

    pub fn png(&self) -> &[u8] {
        &self.png
    }

    pub fn csv(&self) -> &str {
        &self.csv
    }
}

/// Sets the SVG's size in px. plotters writes the size in finer units, which stay in the view box.
fn resize(drawing: &str, (width, height): (f64, f64)) -> String {
    let Some((head, rest)) = drawing.split_once("viewBox") else { return drawing.to_owned() };
    let tag = head.split_once("<svg").map_or("", |(before, _)| before);
    format!("{tag}<svg width=\"{width}\" height=\"{height}\" viewBox{rest}")
}

fn to_csv(rows: &[Vec<String>]) -> Result<String> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    rows.iter().try_for_each(|row| csv.write_record(row)).map_err(Error::encode("a chart's CSV"))?;
    let bytes = csv.into_inner().map_err(Error::encode("a chart's CSV"))?;
    String::from_utf8(bytes).map_err(Error::encode("a chart's CSV"))
}
