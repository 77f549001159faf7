//! The format of results and errors. Results go to standard output, everything else to standard error,
//! so that a pipe receives results only.

use super::{Exit, Output, text};
use client::{Number, Written};
use comfy_table::{Table, presets};
use model::{
    LogIndex,
    store::{Key, Versioned},
};
use serde_json::{Value, json};
use std::{
    fmt::Display,
    io::{self, Write},
};

/// The result of an operation.
#[derive(Debug)]
pub(crate) enum Reply {
    Value {
        key: String,
        found: Option<Versioned>,
        /// For a stale read: the last entry that the server had applied.
        as_of: Option<LogIndex>,
    },
    Written {
        key: String,
        written: Written,
    },
    Number {
        key: String,
        number: Number,
    },
    Pairs {
        pairs: Vec<(Key, Versioned)>,
        /// Whether more keys follow.
        more: bool,
        /// See [`Self::Value`].
        as_of: Option<LogIndex>,
    },
    Leads {
        server: u64,
    },
}

impl Reply {
    pub(crate) fn show(&self, output: Output, to: &mut impl Write) -> anyhow::Result<Exit> {
        match output {
            Output::Table => self.table(to)?,
            Output::Json => self.json(to)?,
            Output::Plain => self.plain(to)?,
        }
        to.flush()?;
        // JSON results already contain these notes.
        if output != Output::Json {
            let notes = [self.reason(), self.continuation(), self.age()];
            for line in notes.into_iter().flatten() {
                program::output::note(line);
            }
        }
        Ok(self.exit())
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Value { found: None, .. }
            | Self::Written {
                written: Written::ConditionFailed { .. },
                ..
            } => Exit::No,
            _ => Exit::Done,
        }
    }

    /// Why the exit code is not 0.
    fn reason(&self) -> Option<String> {
        match self {
            Self::Value {
                key, found: None, ..
            }
            | Self::Written {
                key,
                written: Written::ConditionFailed { found: None },
            } => Some(format!("the key {key:?} was not found")),
            Self::Written {
                key,
                written: Written::ConditionFailed { found: Some(found) },
            } => Some(format!(
                "the key {key:?} has version {found}; nothing was written"
            )),
            _ => None,
        }
    }

    /// A note that more keys exist.
    fn continuation(&self) -> Option<String> {
        match self {
            Self::Pairs {
                pairs, more: true, ..
            } => {
                let after = pairs.last().map(|(key, _)| text::show(key));
                let after =
                    after.map_or(String::new(), |key| format!(": go on with --after {key:?}"));
                Some(format!("there are more keys{after}"))
            }
            _ => None,
        }
    }

    /// A note that the result may be stale.
    fn age(&self) -> Option<String> {
        match self {
            Self::Value { as_of, .. } | Self::Pairs { as_of, .. } => as_of.map(|index| {
                format!(
                    "stale: the state of one server, which had applied the log up to entry {index}"
                )
            }),
            _ => None,
        }
    }

    fn table(&self, to: &mut impl Write) -> io::Result<()> {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        match self {
            Self::Value {
                key,
                found: Some(found),
                ..
            } => {
                table.set_header(["key", "value", "version"]);
                table.add_row([
                    text::printable(key),
                    text::printable(&text::show(&found.value)),
                    found.version.to_string(),
                ]);
            }
            Self::Written {
                key,
                written: Written::Done { version },
            } => {
                table.set_header(["key", "version"]);
                table.add_row([text::printable(key), version.to_string()]);
            }
            Self::Number { key, number } => {
                table.set_header(["key", "value", "version"]);
                let Number { value, version } = number;
                table.add_row([text::printable(key), value.to_string(), version.to_string()]);
            }
            Self::Pairs { pairs, .. } => {
                table.set_header(["key", "value", "version"]);
                for (key, Versioned { value, version }) in pairs {
                    table.add_row([
                        text::printable(&text::show(key)),
                        text::printable(&text::show(value)),
                        version.to_string(),
                    ]);
                }
            }
            Self::Leads { server } => {
                table.set_header(["leader"]);
                table.add_row([server.to_string()]);
            }
            _ => return Ok(()),
        }
        writeln!(to, "{table}")
    }

    fn json(&self, to: &mut impl Write) -> io::Result<()> {
        let line = match self {
            Self::Value {
                key,
                found: None,
                as_of,
            } => dated(json!({"key": key, "found": false}), *as_of),
            Self::Value {
                key,
                found: Some(found),
                as_of,
            } => dated(pair(key.as_bytes(), found), *as_of),
            Self::Written {
                key,
                written: Written::Done { version },
            } => json!({"key": key, "version": version.get()}),
            Self::Written {
                key,
                written: Written::ConditionFailed { found },
            } => {
                json!({"key": key, "condition_failed": {"found": found.map(|found| found.get())}})
            }
            Self::Leads { server } => json!({"leader": server}),
            Self::Number { key, number } => {
                json!({"key": key, "number": number.value, "version": number.version.get()})
            }
            Self::Pairs { pairs, as_of, .. } => {
                for (key, found) in pairs {
                    writeln!(to, "{}", dated(pair(key, found), *as_of))?;
                }
                return Ok(());
            }
        };
        writeln!(to, "{line}")
    }

    fn plain(&self, to: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Value {
                found: Some(found), ..
            } => {
                to.write_all(&found.value)?;
                writeln!(to)
            }
            Self::Written {
                written: Written::Done { version },
                ..
            } => writeln!(to, "{version}"),
            Self::Leads { server } => writeln!(to, "{server}"),
            Self::Number { number, .. } => writeln!(to, "{}", number.value),
            Self::Pairs { pairs, .. } => {
                for (key, found) in pairs {
                    writeln!(to, "{}\t{}", text::show(key), text::show(&found.value))?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn pair(key: &[u8], found: &Versioned) -> Value {
    json!({
        "key": text::show(key),
        "value": text::show(&found.value),
        "version": found.version.get(),
    })
}

/// Adds the applied index to a possibly stale result.
fn dated(mut line: Value, as_of: Option<LogIndex>) -> Value {
    if let Some(index) = as_of {
        line["applied_index"] = index.get().into();
    }
    line
}

/// Prints a line. Unlike `println!`, it does not panic if the reader is gone.
pub(crate) fn print_line(line: &impl Display) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}

/// Prints an error. The message may contain text from the network, such as an HTTP body.
pub(crate) fn print_error(output: Output, exit: Exit, error: &anyhow::Error) {
    let message = format!("{error:#}");
    match output {
        Output::Json => {
            program::output::note(json!({"error": exit.name(), "message": message}));
        }
        Output::Table | Output::Plain => program::output::error(text::printable(&message)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    fn shown(reply: &Reply, output: Output) -> String {
        let mut to = Vec::new();
        reply.show(output, &mut to).unwrap();
        String::from_utf8(to).unwrap()
    }

    fn found(value: &[u8]) -> Versioned {
        Versioned {
            value: value.into(),
            version: LogIndex::new(7),
        }
    }

    fn value(found: Option<Versioned>) -> Reply {
        let key = "k".to_owned();
        Reply::Value {
            key,
            found,
            as_of: None,
        }
    }

    fn pairs(pairs: Vec<(Key, Versioned)>) -> Reply {
        Reply::Pairs {
            pairs,
            more: false,
            as_of: None,
        }
    }

    fn written(written: Written) -> Reply {
        let key = "k".to_owned();
        Reply::Written { key, written }
    }

    #[test]
    fn value_looks_like_this() {
        let reply = value(Some(found(b"v")));
        assert_eq!(reply.exit(), Exit::Done);
        assert_eq!(shown(&reply, Output::Plain), "v\n");
        let json = "{\"key\":\"k\",\"value\":\"v\",\"version\":7}\n";
        assert_eq!(shown(&reply, Output::Json), json);
        let table = "\
┌─────┬───────┬─────────┐
│ key ┆ value ┆ version │
╞═════╪═══════╪═════════╡
│ k   ┆ v     ┆ 7       │
└─────┴───────┴─────────┘
";
        assert_eq!(shown(&reply, Output::Table), table);
    }

    #[test]
    fn value_that_is_no_text_is_itself_when_plain_and_encoded_otherwise() {
        let reply = value(Some(found(&[0xff])));
        let mut to = Vec::new();
        reply.show(Output::Plain, &mut to).unwrap();
        assert_eq!(to, [0xff, b'\n']);
        assert!(shown(&reply, Output::Json).contains("\"base64:/w==\""));
    }

    #[test]
    fn absent_value_is_a_line_only_in_json() {
        let reply = value(None);
        assert_eq!(reply.exit(), Exit::No);
        assert_eq!(shown(&reply, Output::Plain), "");
        assert_eq!(shown(&reply, Output::Table), "");
        assert_eq!(
            shown(&reply, Output::Json),
            "{\"found\":false,\"key\":\"k\"}\n"
        );
    }

    #[test]
    fn writes_show_their_version_or_the_one_that_was_found() {
        let version = LogIndex::new(3);
        let reply = written(Written::Done { version });
        assert_eq!(reply.exit(), Exit::Done);
        assert_eq!(shown(&reply, Output::Plain), "3\n");
        assert_eq!(
            shown(&reply, Output::Json),
            "{\"key\":\"k\",\"version\":3}\n"
        );
        for (found, number) in [(None, "null"), (Some(version), "3")] {
            let reply = written(Written::ConditionFailed { found });
            assert_eq!(reply.exit(), Exit::No);
            let json = format!("{{\"condition_failed\":{{\"found\":{number}}},\"key\":\"k\"}}\n");
            assert_eq!(shown(&reply, Output::Json), json);
            assert_eq!(shown(&reply, Output::Plain), "");
            assert!(reply.reason().is_some());
        }
    }

    #[test]
    fn numbers_and_pairs_look_like_this() {
        let (value, version) = (-2, LogIndex::new(3));
        let number = Reply::Number {
            key: "n".to_owned(),
            number: Number { value, version },
        };
        assert_eq!(shown(&number, Output::Plain), "-2\n");
        let json = "{\"key\":\"n\",\"number\":-2,\"version\":3}\n";
        assert_eq!(shown(&number, Output::Json), json);
        let pairs = pairs(vec![
            (b"a".to_vec(), found(b"1")),
            (vec![0xff], found(b"2")),
        ]);
        assert_eq!(shown(&pairs, Output::Plain), "a\t1\nbase64:/w==\t2\n");
        let json = "\
{\"key\":\"a\",\"value\":\"1\",\"version\":7}
{\"key\":\"base64:/w==\",\"value\":\"2\",\"version\":7}
";
        assert_eq!(shown(&pairs, Output::Json), json);
        assert_eq!(shown(&self::pairs(Vec::new()), Output::Plain), "");
    }

    #[test]
    fn stale_answers_say_as_of_when_they_are() {
        let key = "k".to_owned();
        let reply = |found| Reply::Value {
            key: key.clone(),
            found,
            as_of: Some(LogIndex::new(9)),
        };
        let json = "{\"applied_index\":9,\"key\":\"k\",\"value\":\"v\",\"version\":7}\n";
        assert_eq!(shown(&reply(Some(found(b"v"))), Output::Json), json);
        assert_eq!(shown(&reply(Some(found(b"v"))), Output::Plain), "v\n");
        let json = "{\"applied_index\":9,\"found\":false,\"key\":\"k\"}\n";
        assert_eq!(shown(&reply(None), Output::Json), json);
        assert!(
            reply(None)
                .age()
                .is_some_and(|age| age.ends_with("up to entry 9"))
        );
        assert!(value(None).age().is_none());
    }
}
