//! The regions of sources with their counters, as `llvm-cov export` prints them.

use serde::Deserialize;
use std::{collections::BTreeMap, path::Path};

/// The kind of a region of code. The others are macro expansions, gaps and branches.
const CODE: u64 = 0;

/// A position in a source: line and column from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) line: usize,
    pub(super) column: usize,
}

/// A part of a source that is executed as a whole: from its start up to, but not including, its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Region {
    pub(super) start: Position,
    pub(super) end: Position,
}

impl Region {
    pub(super) fn contains(&self, position: Position) -> bool {
        self.start <= position && position < self.end
    }

    pub(super) fn covers(&self, other: &Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }
}

/// The regions of one source. Each is true if it was executed.
#[derive(Debug, Default)]
pub(super) struct Regions(BTreeMap<Region, bool>);

impl Regions {
    pub(super) fn iter(&self) -> impl Iterator<Item = (Region, bool)> {
        self.0.iter().map(|(region, executed)| (*region, *executed))
    }

    /// Whether the code at this position was executed.
    pub(super) fn executes(&self, position: Position) -> bool {
        let mut regions = self.iter();
        regions.any(|(region, executed)| executed && region.contains(position))
    }
}

/// The output of `llvm-cov export`.
#[derive(Deserialize)]
pub(super) struct Export {
    data: Vec<Data>,
}

#[derive(Deserialize)]
struct Data {
    functions: Vec<Function>,
}

#[derive(Deserialize)]
struct Function {
    filenames: Vec<String>,
    /// Start line and column, end line and column, counter, file, expanded file, kind.
    regions: Vec<[u64; 8]>,
}

impl Export {
    /// The regions of each source below `root`, by its path from there. A generic function has one instance
    /// for each of its types: a region is executed if one instance executes it.
    pub(super) fn by_source(self, root: &Path) -> BTreeMap<String, Regions> {
        let mut sources: BTreeMap<String, Regions> = BTreeMap::new();
        for function in self.data.into_iter().flat_map(|data| data.functions) {
            for region in function.regions {
                let [line, column, end_line, end_column, count, file, _, kind] = region;
                let file = function.filenames.get(file as usize);
                let file = file.and_then(|file| Path::new(file).strip_prefix(root).ok());
                let Some(file) = file.and_then(Path::to_str).filter(|_| kind == CODE) else {
                    continue;
                };
                let position = |line, column| Position {
                    line: line as usize,
                    column: column as usize,
                };
                let region = Region {
                    start: position(line, column),
                    end: position(end_line, end_column),
                };
                let regions = sources.entry(file.to_owned()).or_default();
                *regions.0.entry(region).or_default() |= count > 0;
            }
        }
        sources
    }
}

#[cfg(test)]
impl FromIterator<(Region, bool)> for Regions {
    fn from_iter<I: IntoIterator<Item = (Region, bool)>>(regions: I) -> Self {
        Self(regions.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn region_is_executed_if_one_instance_executes_it() {
        let text = r#"{"data": [{"functions": [
            {"filenames": ["/root/a.rs", "/root/b.rs"], "regions": [
                [1, 2, 3, 4, 0, 0, 0, 0], [5, 1, 5, 9, 0, 1, 0, 0], [7, 1, 7, 9, 5, 0, 0, 3]
            ]},
            {"filenames": ["/root/a.rs"], "regions": [[1, 2, 3, 4, 7, 0, 0, 0]]},
            {"filenames": ["/elsewhere/a.rs"], "regions": [[9, 1, 9, 4, 7, 0, 0, 0]]}
        ], "files": []}]}"#;
        let export: Export = serde_json::from_str(text).expect("the form of llvm-cov");
        let sources = export.by_source(Path::new("/root"));
        let lines = |source: &str| {
            let regions = sources[source].iter();
            Vec::from_iter(regions.map(|(region, executed)| (region.start.line, executed)))
        };
        assert_eq!(sources.len(), 2);
        assert_eq!(lines("a.rs"), [(1, true)]);
        assert_eq!(lines("b.rs"), [(5, false)]);
        let at = |line, column| sources["a.rs"].executes(Position { line, column });
        assert!(at(1, 2) && at(3, 3) && !at(3, 4) && !at(1, 1));
    }
}
