//! The cells of a sweep. Each cell is a complete scenario with the values of one point of the sweep and the overrides
//! of the command line.
use crate::beyond;
use crate::cell::CellKey;
use crate::error::{self, ScenarioError};
use crate::files::Files;
use crate::load::Loaded;
use crate::only::Only;
use crate::origin::{Assignment, From, Origin};
use crate::paths::{self, Parts, Path};
use crate::plan::Plan;
use crate::resolve::{self, Run};
use crate::schema::{Scenario, Sweep};
use crate::suggest;
use crate::warning_kind::Kind;
use actors::seed::Seed;
use actors::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The largest number of runs of one sweep (cells times repetitions). All runs are planned before the first one begins,
/// and a plan takes some ten kilobytes.
const RUNS: u64 = 1 << 16;

/// The help for two flags, or two values, of which only one can apply.
const LEAVE_ONE_OUT: &str = "remove one of the two";

/// The overrides of the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Values as (path, value). A value replaces every value of the file at this path, and removes the file's axes over
    /// this path.
    pub set: Vec<(String, String)>,
    /// Axes as (path, values separated by commas). An axis replaces the file's axis over the same path, or is added to
    /// the file's axes.
    pub axis: Vec<(String, String)>,
    pub repeat: Option<u32>,
    /// The filter of cells: `path=value`, several joined by `&&`. Only cells with these values are run.
    pub only: Option<String>,
}

/// One cell of a sweep.
#[derive(Clone, Debug)]
pub struct Cell {
    pub key: CellKey,
    pub scenario: Scenario,
    origin: Origin,
    files: Arc<Files>,
}

impl Cell {
    /// Resolves one repetition of the cell into a plan. `repeat` is the number of the repetition. All random choices
    /// are derived from `seed`, the number of the cell and `repeat`.
    ///
    /// # Errors
    /// If the scenario of the cell is not valid.
    pub fn plan(&self, seed: Seed, repeat: u32) -> Result<Plan, ScenarioError> {
        let run = Run { seed, cell: self.key.index, repeat };
        resolve::plan(&self.scenario, run, &self.files).map_err(|mut fault| {
            let cause = self.cause(&fault, run);
            // Cells are planned in order, so the cells before this one are valid, and the fault depends on the varied
            // values. The message therefore shows these values.
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

    /// Returns the override that makes the plan fail, unless the fault's path is within an override. Without the
    /// returned override, the plan succeeds or its fault is at another path. Flags are tried before values of the
    /// file's sweep.
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

    /// Returns the number of events of the scenario that begin later than the time `end` after the barrier's release,
    /// and the number of all its events.
    pub fn events_after(&self, plan: &Plan, end: Duration) -> (usize, usize) {
        (beyond::after(&self.scenario, plan, end), self.scenario.events.len())
    }

    /// Returns warnings about values of this cell that are allowed but rarely intended.
    pub(crate) fn warnings(&self, plan: &Plan) -> Vec<(Kind, f64, String)> {
        beyond::warnings(&self.scenario, plan)
    }
}

impl Cell {
    /// Returns an error that points at the value of `path`, for problems that only a run of the plan can find.
    pub fn reject(&self, path: &str, why: String) -> ScenarioError {
        self.origin.blame(resolve::Fault::new(path, why))
    }
}

impl Loaded {
    /// The number of repetitions of each cell.
    ///
    /// # Errors
    /// If an override is not valid.
    pub fn repeats(&self, overrides: &Overrides) -> Result<u32, ScenarioError> {
        let (scenario, _) = self.base(overrides)?;
        Ok(scenario.sweep.repeat)
    }

    /// Returns an error if a sweep of `cells` cells with `repeat` repetitions each has too many runs.
    fn few_enough(&self, cells: usize, repeat: u32, origin: &Origin) -> Result<(), ScenarioError> {
        let runs = (cells as u64).saturating_mul(u64::from(repeat));
        if runs <= RUNS {
            return Ok(());
        }
        let message = format!(
            "the sweep has {cells} cells with {repeat} repetitions each, which are {runs} runs, but at most {RUNS} \
             are allowed"
        );
        let fault = resolve::Fault::new("sweep.repeat", message);
        Err(origin
            .blame(fault.help("use fewer repetitions, or run a part of the cells at a time: --only 'PATH=VALUE'")))
    }

    /// Returns the cells in the order of the sweep.
    ///
    /// # Errors
    /// If an override, an axis or a case is not valid, or if there are too many cells or runs.
    pub fn cells(&self, overrides: &Overrides) -> Result<Vec<Cell>, ScenarioError> {
        let (base, over) = self.base(overrides)?;
        let sets = &over.assignments;
        let varied = Varied::new(self, overrides)?;
        let points = varied.points().map_err(|cells| self.too_many(cells, overrides))?;
        if overrides.only.is_none() {
            self.few_enough(points.len(), base.sweep.repeat, &over)?;
        }
        let text = Origin::of(self.source.clone()).print(&base)?;
        varied.distinct(&text, &Origin::of(self.source.clone()))?;
        let (mut kept, mut texts, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
        // Neighbouring points of a grid share their first assignments. The trail keeps the assignments of the last
        // point and the text and scenario after each, so that they are reused.
        let mut trail: Vec<(Assignment, (String, Scenario))> = Vec::new();
        for mut point in points {
            // If an override sets a path below a varied path, it is applied again after the varied value.
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
        let message = format!("the axes and cases give {cells} cells, but a sweep has at most {RUNS}");
        let help = Some("give fewer axes, or fewer values".to_owned());
        match overrides.axis.last() {
            Some((path, values)) => ScenarioError::Flag { flag: format!("--axis {path}={values}"), message, help },
            None => ScenarioError::at(&self.source, self.source.written(&Path::dotted("sweep.axes")), message, help),
        }
    }

    /// Returns the scenario with the overrides that set values and without varied values, and the origins of its
    /// values.
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
                let help = Some("use --axis path=a,b,c to give an axis".to_owned());
                let message = "the axes and cases of a sweep cannot be changed with --set".to_owned();
                return Err(ScenarioError::Flag { flag: flag.clone(), message, help });
            }
            let dropped = origin.assignments.iter().find(|before| assignment.path.contains(&before.path));
            if let Some(From::Flag(before)) = dropped.map(|dropped| &dropped.from) {
                let message = format!("the option overrides `{}`, which is given before", error::brief(before));
                return Err(origin.blame_value(&assignment, resolve::Fault::new("", message).help(LEAVE_ONE_OUT)));
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

/// The axes and cases of a sweep: the values that it varies.
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
        for (at, (path, values)) in overrides.axis.iter().enumerate() {
            let over = Path::dotted(path);
            if let Some((other, before)) =
                overrides.axis[..at].iter().find(|(other, _)| over.contains(&Path::dotted(other)))
            {
                let message = format!(
                    "the option overrides `{}`, which is given before",
                    error::brief(&format!("--axis {other}={before}"))
                );
                let (flag, help) = (format!("--axis {path}={values}"), Some(LEAVE_ONE_OUT.to_owned()));
                return Err(ScenarioError::Flag { flag, message, help });
            }
            varied.replace(axis(path, values)?);
        }
        for (path, value) in &overrides.set {
            let set = Path::dotted(path);
            // A `--set` removes the file's axis over its path. But a `--set` and an `--axis` for the same path
            // contradict each other.
            if let Some((axis, values)) = overrides.axis.iter().find(|(axis, _)| set.contains(&Path::dotted(axis))) {
                let axis = format!("--axis {axis}={values}");
                let message = format!("the option sets a value that {} varies", error::brief(&axis));
                let help = Some(LEAVE_ONE_OUT.to_owned());
                return Err(ScenarioError::Flag { flag: format!("--set {path}={value}"), message, help });
            }
            varied.give_up(&set);
        }
        Ok(varied)
    }

    /// Refuses an axis that has the same value twice, also in different notations, because the two cells would be the
    /// same. `text` is the scenario to which the values are assigned.
    fn distinct(&self, text: &str, origin: &Origin) -> Result<(), ScenarioError> {
        for axis in &self.axes {
            let mut seen: BTreeMap<String, &Assignment> = BTreeMap::new();
            for value in axis {
                // A value that is not valid at its path is kept as it is here. A later check refuses it with the
                // reason.
                let meant = origin.assign(text, value).map_or_else(|_| value.value.clone(), |(text, _)| text);
                if let Some(before) = seen.insert(meant, value) {
                    let message = match before.value == value.value {
                        true => format!("the value `{}` is given twice", value.value),
                        false => format!("the values `{}` and `{}` are the same", before.value, value.value),
                    };
                    return Err(origin.blame_value(value, resolve::Fault::new("", message).help(LEAVE_ONE_OUT)));
                }
            }
        }
        Ok(())
    }

    /// Adds an axis of the command line, which replaces the file's axis and case values at the same path.
    fn replace(&mut self, axis: Vec<Assignment>) {
        let Some(first) = axis.first() else { return };
        self.cases.iter_mut().for_each(|case| case.retain(|value| !first.path.contains(&value.path)));
        match self.axes.iter().position(|old| old.iter().all(|value| value.path == first.path)) {
            Some(at) => self.axes[at] = axis,
            None => self.axes.push(axis),
        }
    }

    /// Removes the axes and case values at a path that is set to a fixed value.
    fn give_up(&mut self, path: &Path) {
        self.axes.retain(|axis| !axis.iter().all(|value| path.contains(&value.path)));
        self.cases.iter_mut().for_each(|case| case.retain(|value| !path.contains(&value.path)));
    }

    /// Returns the points of the sweep: all combinations of the axes' values, with the first axis varied slowest; then,
    /// for each case, all combinations of the axes that the case does not name. If there are too many points, the error
    /// is their number.
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

    /// Returns the paths that identify a cell by their values. A varied path is split into its fields if its values are
    /// structs with the same fields. Fields with the same value in all cells are then left out.
    fn leaves(&self, texts: &[String]) -> Vec<Path> {
        let mut varied: Vec<Path> = Vec::new();
        for assignment in self.axes.iter().chain(&self.cases).flatten() {
            if !varied.contains(&assignment.path) {
                varied.push(assignment.path.clone());
            }
        }
        // For each varied path, the distinct values that occur in the texts.
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
        let message = "the axis needs values, separated by commas".to_owned();
        return Err(ScenarioError::Flag { flag, message, help: None });
    }
    let value = |value| Assignment { path: Path::dotted(path), value, from: From::Flag(flag.clone()) };
    Ok(values.into_iter().map(value).collect())
}

/// Returns every combination of the axes' values, each followed by the values of `case`. If there are too many
/// combinations, the error is their number.
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

/// Returns the paths below `path` whose values differ, or `path` itself if its values do not have the same fields.
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

/// Returns the cells that match the filter `text`.
fn select(cells: Vec<Cell>, text: &str) -> Result<Vec<Cell>, ScenarioError> {
    let wrong =
        |message: String, help: Option<String>| ScenarioError::Flag { flag: format!("--only {text}"), message, help };
    let only = Only::parse(text)
        .map_err(|why| wrong(why, Some("write a filter as path=value, and join several with &&".to_owned())))?;
    let known: Vec<String> =
        cells.first().map(|cell| cell.key.values.iter().map(|(path, _)| path.clone()).collect()).unwrap_or_default();
    for path in only.paths() {
        if !known.iter().any(|name| name == path) {
            let help = suggest::hint(path, known.iter().map(String::as_str));
            return Err(wrong(format!("the sweep does not vary the path `{path}`"), help));
        }
    }
    let cells: Vec<Cell> = cells.into_iter().filter(|cell| only.takes(&cell.key.values)).collect();
    if cells.is_empty() {
        let help = Some("`swarmbench plan` lists the cells".to_owned());
        return Err(wrong("no cell of the sweep has these values".to_owned(), help));
    }
    Ok(cells)
}
