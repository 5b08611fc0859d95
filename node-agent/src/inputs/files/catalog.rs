//! What the files say together: the last good state of each, merged, and what is wrong.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use sluice_model::{
    change::{Change, Object},
    key::Subject,
};

use super::documents;
use crate::inputs::{Place, Problem};

/// One file: its last good objects, and what is wrong with its present content.
#[derive(Debug, Default)]
struct Source {
    /// `None` until the file was good once.
    good: Option<Vec<Object>>,
    problems: Vec<Problem>,
}

/// All files of the folder, and what was told of them so far.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    sources: BTreeMap<PathBuf, Source>,
    told: BTreeMap<Subject, Object>,
    doubles: Vec<Problem>,
}

impl Catalog {
    /// Takes a file's present content; says whether it is good. A bad one leaves the last good
    /// objects in force.
    pub(super) fn read(&mut self, file: &Path, content: std::io::Result<Vec<u8>>) -> bool {
        let source = self.sources.entry(file.into()).or_default();
        let problem = |document, line, text| Problem {
            place: Place::File {
                file: file.into(),
                document,
                line,
            },
            text,
        };
        let text = match content.map(String::from_utf8) {
            Ok(Ok(text)) => text,
            Ok(Err(error)) => {
                source.problems = vec![problem(None, None, format!("not UTF-8: {error}"))];
                return false;
            }
            Err(error) => {
                source.problems = vec![problem(None, None, format!("cannot be read: {error}"))];
                return false;
            }
        };
        match documents::objects(&text) {
            Ok(objects) => {
                source.good = Some(objects);
                source.problems.clear();
                true
            }
            Err(faults) => {
                source.problems = faults
                    .into_iter()
                    .map(|fault| problem(Some(fault.document), Some(fault.line), fault.text))
                    .collect();
                false
            }
        }
    }

    pub(super) fn knows(&self, file: &Path) -> bool {
        self.sources.contains_key(file)
    }

    pub(super) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.sources.keys()
    }

    pub(super) fn remove(&mut self, file: &Path) {
        self.sources.remove(file);
    }

    /// What changed since the last call. An object that two files name is the first file's.
    pub(super) fn changes(&mut self) -> Vec<Change> {
        self.doubles.clear();
        let mut now: BTreeMap<Subject, (&Path, &Object)> = BTreeMap::new();
        for (file, source) in &self.sources {
            for object in source.good.iter().flatten() {
                let subject = object.subject();
                if let Some((first, _)) = now.get(&subject) {
                    self.doubles.push(Problem {
                        place: Place::File {
                            file: file.clone(),
                            document: None,
                            line: None,
                        },
                        text: format!("{subject} is in {} too, which counts", first.display()),
                    });
                } else {
                    now.insert(subject, (file, object));
                }
            }
        }
        let gone = self
            .told
            .keys()
            .filter(|subject| !now.contains_key(subject))
            .cloned();
        let mut changes: Vec<_> = gone.map(Change::Gone).collect();
        for (subject, (_, object)) in &now {
            if self.told.get(subject) != Some(object) {
                changes.push(Change::Set((*object).clone()));
            }
        }
        let now: Vec<_> = now
            .into_iter()
            .map(|(subject, (_, object))| (subject, object.clone()))
            .collect();
        self.told = now.into_iter().collect();
        changes
    }

    pub(super) fn problems(&self) -> Vec<Problem> {
        let of_files = self.sources.values().flat_map(|source| &source.problems);
        of_files.chain(&self.doubles).cloned().collect()
    }

    /// Files that were never good: nobody knows which objects they meant.
    pub(super) fn unknown(&self) -> usize {
        self.sources
            .values()
            .filter(|source| source.good.is_none())
            .count()
    }
}
