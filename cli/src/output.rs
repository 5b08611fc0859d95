//! The forms of an answer: tables for people, the document that was sent for programs.

use std::io::{self, IsTerminal};

use clap::ValueEnum;
use comfy_table::{ContentArrangement, LineStyle, Table, TableStyle};

use crate::agent::Answer;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Table,
    /// The same with more columns.
    Wide,
    /// The document that was sent.
    Json,
    /// The same as YAML.
    Yaml,
}

const UNDERLINE: LineStyle = LineStyle::none().fill('─');

/// An answer in its form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub text: String,
    /// Whether the exit code says that all is well.
    pub is_fine: bool,
}

/// Where a table is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Columns apart by spaces: a file, a pipe.
    Plain,
    /// With a line below the header.
    Terminal,
}

impl Look {
    pub fn of_stdout() -> Self {
        if io::stdout().is_terminal() {
            Self::Terminal
        } else {
            Self::Plain
        }
    }

    /// A table that is ready for its rows.
    pub fn table(self, header: &[&str]) -> Table {
        let mut table = Table::new();
        table
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header(header)
            .load_style(match self {
                Self::Plain => TableStyle::new(),
                Self::Terminal => TableStyle::new().header_separator(UNDERLINE),
            });
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        table
    }
}

/// The answer in its form. Only people's needs to be understood.
pub fn form<E>(
    output: Output,
    answer: &Answer,
    in_words: impl FnOnce(Look) -> Result<String, E>,
) -> Result<String, E> {
    let Answer(document) = answer;
    match output {
        Output::Table | Output::Wide => in_words(Look::of_stdout()),
        Output::Json => Ok(format!("{document:#}\n")),
        // What JSON can say, YAML can.
        Output::Yaml => {
            Ok(serde_yaml::to_string(document).unwrap_or_else(|_| format!("{document}\n")))
        }
    }
}

/// The table's lines, each after this many spaces and without spaces at its end.
pub fn lines(table: &Table, indent: usize) -> String {
    let mut text = String::new();
    for line in table.to_string().lines() {
        text.push_str(&" ".repeat(indent));
        text.push_str(line);
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}
