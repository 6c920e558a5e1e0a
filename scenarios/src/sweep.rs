//! The cells of a sweep: a scenario's points, each a scenario of its own, with what a command line puts over them.
use crate::beyond;
use crate::cell::CellKey;
use crate::error::ScenarioError;
use crate::files::Files;
use crate::load::Loaded;
use crate::nearest;
use crate::only::Only;
use crate::origin::{Assignment, From, Origin};
use crate::paths::{self, Parts, Path};
use crate::plan::Plan;
use crate::resolve::{self, Run};
use crate::schema::{Scenario, Sweep};
use crate::warning_kind::Kind;
use actors::seed::Seed;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Runs of one sweep, cells times repetitions: each is planned before the first begins, and takes some ten kilobytes.
const RUNS: u64 = 1 << 16;

/// What a command line puts over a scenario.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// (path, value). A value wins over everything the file says; an axis over its path is given up.
    pub set: Vec<(String, String)>,
    /// (path, values with commas between). Takes the place of the file's axis, or is one more.
    pub axis: Vec<(String, String)>,
    pub repeat: Option<u32>,
    /// `path=value`, several joined by `&&`: run only the cells that have these values.
    pub only: Option<String>,
}

/// One point of a sweep.
#[derive(Clone, Debug)]
pub struct Cell {
    pub key: CellKey,
    pub scenario: Scenario,
    origin: Origin,
    files: Arc<Files>,
}

impl Cell {
    /// Makes the cell explicit for one repetition; all that is random in it follows from `seed`, the cell and `repeat`.
    pub fn plan(&self, seed: Seed, repeat: u32) -> Result<Plan, ScenarioError> {
        let run = Run { seed, cell: self.key.index, repeat };
        resolve::plan(&self.scenario, run, &self.files).map_err(|mut fault| {
            let cause = self.cause(&fault, run);
            // What holds in the first cell and not in a later one depends on what that one varies.
            if self.key.index > 0 {
                let values: Vec<_> = self.key.values.iter().map(|(path, value)| format!("{path}={value}")).collect();
                fault.message = format!("{} (cell {}: {})", fault.message, self.key.index, values.join(", "));
            }
            match cause {
                Some(assignment) => self.origin.blame_value(assignment, fault),
                None => self.origin.blame(fault),
            }
        })
    }

    /// The override that makes the plan fail, where the fault is not at its own path: without it the scenario can be
    /// planned, or at least has nothing wrong at that place. A flag comes before a value of the file's sweep.
    fn cause(&self, fault: &resolve::Fault, run: Run) -> Option<&Assignment> {
        let assignments = &self.origin.assignments;
        if assignments.iter().any(|assignment| assignment.path.contains(&fault.path)) {
            return None;
        }
        let is_flag = |assignment: &&Assignment| matches!(assignment.from, From::Flag(_));
        let (flags, others): (Vec<_>, Vec<_>) = assignments.iter().rev().partition(is_flag);
        let mut elsewhere = None;
        for assignment in flags.into_iter().chain(others) {
            let Some(scenario) = self.origin.without(assignment) else { continue };
            match resolve::plan(&scenario, run, &self.files) {
                Ok(_) => return Some(assignment),
                Err(other) if other.path != fault.path => elsewhere = elsewhere.or(Some(assignment)),
                Err(_) => {}
            }
        }
        elsewhere
    }

    /// What is allowed in a plan of this cell and can hardly be meant.
    pub(crate) fn warnings(&self, plan: &Plan) -> Vec<(Kind, f64, String)> {
        beyond::warnings(&self.scenario, plan)
    }
}

impl Cell {
    /// An error at the value of `path`, for what only a world can find wrong with it.
    pub fn reject(&self, path: &str, why: String) -> ScenarioError {
        self.origin.blame(resolve::Fault::new(path, why))
    }
}

impl Loaded {
    /// How often each cell is to be run.
    pub fn repeats(&self, overrides: &Overrides) -> Result<u32, ScenarioError> {
        let (scenario, _) = self.base(overrides)?;
        Ok(scenario.sweep.repeat)
    }

    /// Refuses a sweep of more runs than may be planned.
    fn few_enough(&self, cells: usize, repeat: u32, origin: &Origin) -> Result<(), ScenarioError> {
        let runs = (cells as u64).saturating_mul(u64::from(repeat));
        if runs <= RUNS {
            return Ok(());
        }
        let message = format!("{cells} cells, {repeat} repetitions each, are {runs} runs: a sweep has at most {RUNS}");
        let fault = resolve::Fault::new("sweep.repeat", message);
        Err(origin.blame(fault.help("repeat less, or run a part of the cells at a time: --only 'PATH=VALUE'")))
    }

    /// The cells of the sweep, in its order.
    pub fn cells(&self, overrides: &Overrides) -> Result<Vec<Cell>, ScenarioError> {
        let (base, over) = self.base(overrides)?;
        let sets = &over.assignments;
        let varied = Varied::new(self, overrides)?;
        let points = varied.points().map_err(|cells| self.too_many(cells, overrides))?;
        if overrides.only.is_none() {
            self.few_enough(points.len(), base.sweep.repeat, &over)?;
        }
        let text = Origin::of(self.source.clone()).print(&base)?;
        let (mut kept, mut texts, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
        // Neighbours of a grid begin alike: what was put over the text last, and the text after it.
        let mut trail: Vec<(Assignment, (String, Scenario))> = Vec::new();
        for mut point in points {
            // What is set below a varied path is set again after it.
            let late = |set: &&Assignment| point.iter().any(|varied| varied.path.contains(&set.path));
            let late: Vec<_> = sets.iter().filter(late).cloned().collect();
            point.extend(late);
            let mut origin = Origin::of(self.source.clone());
            trail.truncate(trail.iter().zip(&point).take_while(|((last, _), next)| last == *next).count());
            for assignment in &point[trail.len()..] {
                let before = trail.last().map_or(text.as_str(), |(_, (text, _))| text);
                let after = origin.assign(before, assignment)?;
                trail.push((assignment.clone(), after));
            }
            origin.assignments = sets.iter().chain(&point).cloned().collect();
            let (text, scenario) = trail.last().map_or((&text, &base), |(_, (text, scenario))| (text, scenario));
            if seen.insert(text.clone()) {
                kept.push((scenario.clone(), origin));
                texts.push(text.clone());
            }
        }
        let paths = varied.leaves(&texts);
        let cell = |(index, ((scenario, origin), text)): (usize, ((Scenario, Origin), &String))| {
            let values = paths::values(text, &paths).into_iter().map(paths::plain);
            let values = paths.iter().map(Path::to_string).zip(values).collect();
            Cell { key: CellKey { index: index as u32, values }, scenario, origin, files: self.files.clone() }
        };
        let mut cells: Vec<Cell> = kept.into_iter().zip(&texts).enumerate().map(cell).collect();
        if let Some(only) = &overrides.only {
            cells = select(cells, only)?;
        }
        self.few_enough(cells.len(), base.sweep.repeat, &over)?;
        Ok(cells)
    }

    fn too_many(&self, cells: u64, overrides: &Overrides) -> ScenarioError {
        let message = format!("the axes and cases give {cells} cells: a sweep has at most {RUNS}");
        let help = Some("give fewer axes, or fewer values".to_owned());
        match overrides.axis.last() {
            Some((path, values)) => ScenarioError::Flag { flag: format!("--axis {path}={values}"), message, help },
            None => ScenarioError::at(&self.source, self.source.written(&Path::dotted("sweep.axes")), message, help),
        }
    }

    /// The scenario of every cell before anything is varied, and where its values come from.
    fn base(&self, overrides: &Overrides) -> Result<(Scenario, Origin), ScenarioError> {
        let mut origin = Origin::of(self.source.clone());
        let sweep = Sweep { repeat: self.scenario.sweep.repeat, ..Sweep::default() };
        let mut scenario = Scenario { sweep, ..self.scenario.clone() };
        let mut text = origin.print(&scenario)?;
        let repeat = overrides.repeat.map(|repeat| {
            let from = From::Flag(format!("--repeat {repeat}"));
            Assignment { path: Path::dotted("sweep.repeat"), value: repeat.to_string(), from }
        });
        for assignment in overrides.set.iter().map(set).chain(repeat) {
            let (axes, cases) = (Path::dotted("sweep.axes"), Path::dotted("sweep.cases"));
            if let (true, From::Flag(flag)) =
                (axes.touches(&assignment.path) || cases.touches(&assignment.path), &assignment.from)
            {
                let help = Some("use --axis path=a,b,c".to_owned());
                let message = "a sweep is not set but given".to_owned();
                return Err(ScenarioError::Flag { flag: flag.clone(), message, help });
            }
            (text, scenario) = origin.assign(&text, &assignment)?;
            origin.assignments.push(assignment);
        }
        Ok((scenario, origin))
    }
}

fn set((path, value): &(String, String)) -> Assignment {
    let from = From::Flag(format!("--set {path}={value}"));
    Assignment { path: Path::dotted(path), value: value.clone(), from }
}

/// What a sweep varies.
struct Varied {
    axes: Vec<Vec<Assignment>>,
    cases: Vec<Vec<Assignment>>,
}

impl Varied {
    fn new(loaded: &Loaded, overrides: &Overrides) -> Result<Varied, ScenarioError> {
        let sweep = &loaded.scenario.sweep;
        let at = |path: Path| From::File(loaded.source.written(&path));
        let mut axes = Vec::new();
        for (path, values) in &sweep.axes {
            let place = Path::dotted("sweep.axes").then(path);
            if values.is_empty() {
                let range = loaded.source.written(&place);
                let message = format!("the axis `{path}` has no values");
                return Err(ScenarioError::at(&loaded.source, range, message, None));
            }
            let value = |(index, value): (usize, &crate::raw::Raw)| {
                let from = at(place.clone().then(index));
                Assignment { path: Path::dotted(path), value: value.text().to_owned(), from }
            };
            axes.push(values.iter().enumerate().map(value).collect::<Vec<_>>());
        }
        let mut cases = Vec::new();
        for (index, case) in sweep.cases.iter().enumerate() {
            let value = |(path, value): (&String, &crate::raw::Raw)| {
                let from = at(Path::dotted("sweep.cases").then(index).then(path));
                Assignment { path: Path::dotted(path), value: value.text().to_owned(), from }
            };
            cases.push(case.iter().map(value).collect::<Vec<_>>());
        }
        let mut varied = Varied { axes, cases };
        for (path, values) in &overrides.axis {
            varied.replace(axis(path, values)?);
        }
        for (path, value) in &overrides.set {
            let set = Path::dotted(path);
            // The file's axis over it is given up, but two flags that contradict each other are a mistake.
            if let Some((axis, values)) = overrides.axis.iter().find(|(axis, _)| set.contains(&Path::dotted(axis))) {
                let message = format!("--axis {axis}={values} varies what this sets");
                let help = Some("leave one of the two out".to_owned());
                return Err(ScenarioError::Flag { flag: format!("--set {path}={value}"), message, help });
            }
            varied.give_up(&set);
        }
        Ok(varied)
    }

    /// A given axis takes the place of the one over its path.
    fn replace(&mut self, axis: Vec<Assignment>) {
        let Some(first) = axis.first() else { return };
        self.cases.iter_mut().for_each(|case| case.retain(|value| !first.path.contains(&value.path)));
        match self.axes.iter().position(|old| old.iter().all(|value| value.path == first.path)) {
            Some(at) => self.axes[at] = axis,
            None => self.axes.push(axis),
        }
    }

    /// What is set is not varied.
    fn give_up(&mut self, path: &Path) {
        self.axes.retain(|axis| !axis.iter().all(|value| path.contains(&value.path)));
        self.cases.iter_mut().for_each(|case| case.retain(|value| !path.contains(&value.path)));
    }

    /// The grid of the axes, the first slowest; then for each case the grid of the axes it does not name. Or how many
    /// there would be, if these are too many.
    fn points(&self) -> Result<Vec<Vec<Assignment>>, u64> {
        let all: Vec<&[Assignment]> = self.axes.iter().map(Vec::as_slice).collect();
        let mut points = if all.is_empty() && !self.cases.is_empty() { Vec::new() } else { grid(&all, &[])? };
        for case in &self.cases {
            let named = |axis: &&&[Assignment]| {
                axis.iter().all(|value| !case.iter().any(|fixed| fixed.path.contains(&value.path)))
            };
            let free: Vec<&[Assignment]> = all.iter().filter(named).copied().collect();
            points.extend(grid(&free, case)?);
        }
        let count = points.len() as u64;
        if count > RUNS { Err(count) } else { Ok(points) }
    }

    /// The paths that name a cell: every varied one, taken apart where its values are structs of the same fields, of
    /// which then only those count that differ.
    fn leaves(&self, texts: &[String]) -> Vec<Path> {
        let mut varied: Vec<Path> = Vec::new();
        for assignment in self.axes.iter().chain(&self.cases).flatten() {
            if !varied.contains(&assignment.path) {
                varied.push(assignment.path.clone());
            }
        }
        // The values that each path has in any of the texts.
        let mut found = vec![BTreeSet::new(); varied.len()];
        for text in texts {
            for (found, value) in found.iter_mut().zip(paths::values(text, &varied)) {
                found.insert(value);
            }
        }
        let mut leaves = Vec::new();
        for leaf in varied.iter().zip(&found).flat_map(|(path, values)| take_apart(values, path)) {
            if !leaves.contains(&leaf) {
                leaves.push(leaf);
            }
        }
        leaves
    }
}

fn axis(path: &str, values: &str) -> Result<Vec<Assignment>, ScenarioError> {
    let flag = format!("--axis {path}={values}");
    let values: Vec<String> = paths::split(values).into_iter().map(|value| value.trim().to_owned()).collect();
    if values.iter().any(String::is_empty) {
        let message = "an axis needs values with commas between".to_owned();
        return Err(ScenarioError::Flag { flag, message, help: None });
    }
    let value = |value| Assignment { path: Path::dotted(path), value, from: From::Flag(flag.clone()) };
    Ok(values.into_iter().map(value).collect())
}

/// Every combination of the axes' values, each followed by `case`; or how many there are, if these are too many.
fn grid(axes: &[&[Assignment]], case: &[Assignment]) -> Result<Vec<Vec<Assignment>>, u64> {
    let count = axes.iter().fold(1u64, |count, axis| count.saturating_mul(axis.len() as u64));
    if count > RUNS {
        return Err(count);
    }
    let count = count as usize;
    let mut points = Vec::with_capacity(count);
    for index in 0..count {
        let mut point = Vec::with_capacity(axes.len() + case.len());
        let (mut rest, mut block) = (index, count);
        for axis in axes {
            block /= axis.len();
            point.push(axis[rest / block].clone());
            rest %= block;
        }
        point.extend_from_slice(case);
        points.push(point);
    }
    Ok(points)
}

/// The paths below `path` whose values differ, or `path` itself where its values are not alike.
fn take_apart(values: &BTreeSet<&str>, path: &Path) -> Vec<Path> {
    let fields = |value: &&str| match paths::open(value) {
        Parts::Fields(fields) => Some((paths::name(value).to_owned(), names(&fields))),
        Parts::Items(_) | Parts::Leaf => None,
    };
    let shapes: BTreeSet<_> = values.iter().map(fields).collect();
    let [Some((_, names))] = Vec::from_iter(shapes).try_into().unwrap_or([None]) else { return vec![path.clone()] };
    let child = |name: &String| {
        let below = Path::root().then(name);
        let values = values.iter().copied();
        let values = values.map(|value| paths::locate_in(value, &below).map_or("", |range| &value[range]));
        (path.clone().then(name), values.collect::<BTreeSet<&str>>())
    };
    let children: Vec<_> = names.iter().map(child).collect();
    let differ = children.iter().any(|(_, values)| values.len() > 1);
    let kept = children.iter().filter(|(_, values)| !differ || values.len() > 1);
    kept.flat_map(|(path, values)| take_apart(values, path)).collect()
}

fn names(fields: &[(&str, &str)]) -> Vec<String> {
    fields.iter().map(|(name, _)| (*name).to_owned()).collect()
}

/// The cells that have the values an expression asks for.
fn select(cells: Vec<Cell>, text: &str) -> Result<Vec<Cell>, ScenarioError> {
    let wrong =
        |message: String, help: Option<String>| ScenarioError::Flag { flag: format!("--only {text}"), message, help };
    let only = Only::parse(text).map_err(|why| wrong(why, Some("join several with &&".to_owned())))?;
    let known: Vec<String> =
        cells.first().map(|cell| cell.key.values.iter().map(|(path, _)| path.clone()).collect()).unwrap_or_default();
    for path in only.paths() {
        if !known.iter().any(|name| name == path) {
            let help = nearest::hint(path, known.iter().map(String::as_str));
            return Err(wrong(format!("the sweep does not vary `{path}`"), help));
        }
    }
    let cells: Vec<Cell> = cells.into_iter().filter(|cell| only.takes(&cell.key.values)).collect();
    if cells.is_empty() {
        let help = Some("`swarmbench plan` lists the cells".to_owned());
        return Err(wrong("no cell of the sweep has these values".to_owned(), help));
    }
    Ok(cells)
}
