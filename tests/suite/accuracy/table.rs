//! What was injected beside what was reported of it, as a table for people.

use std::fmt::{self, Display};

/// A figure of muster's under one condition, with what it is held to.
pub struct Row {
    /// What was done to the media.
    pub condition: &'static str,
    /// What was measured, with its unit.
    pub figure: &'static str,
    /// What the relay really did, by its own record of these packets.
    pub truth: f64,
    /// What muster reports.
    pub muster: f64,
    /// How far they may be apart.
    pub bound: f64,
    /// What the official Python SDK reports.
    pub python: Told,
    /// What `lk load-test` reports.
    pub lk: Told,
}

/// What another tool reports, of packets of its own.
#[derive(Clone, Copy)]
pub enum Told {
    /// A figure, and what the relay really did to these packets.
    Of {
        /// What it reports.
        told: f64,
        /// What is true.
        truth: f64,
    },
    /// It has no such figure.
    Nothing,
    /// It isn't on PATH.
    Absent,
}

impl Row {
    /// Whether muster is as exact as it is held to be. What was not measured isn't.
    pub fn holds(&self) -> bool {
        (self.muster - self.truth).abs() <= self.bound
    }
}

impl Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Told::Of { told, truth } => format!("{told:.2} ({truth:.2})"),
            Told::Nothing => "none".to_owned(),
            Told::Absent => "not on PATH".to_owned(),
        };
        f.pad(&text)
    }
}

/// All rows, as Markdown has tables.
pub fn text(rows: &[Row]) -> String {
    let mut lines = vec![
        [
            "condition",
            "figure",
            "injected",
            "muster",
            "off by",
            "bound",
            "Python SDK (injected)",
            "lk (injected)",
        ]
        .map(str::to_owned),
        ["---"; 8].map(str::to_owned),
    ];
    for row in rows {
        let holds = if row.holds() { "" } else { " **beyond**" };
        lines.push([
            row.condition.to_owned(),
            row.figure.to_owned(),
            format!("{:.2}", row.truth),
            format!("{:.2}", row.muster),
            format!("{:+.2}{holds}", row.muster - row.truth),
            format!("{:.2}", row.bound),
            row.python.to_string(),
            row.lk.to_string(),
        ]);
    }
    let widths: Vec<usize> = (0..8)
        .map(|column| {
            lines
                .iter()
                .map(|line| line[column].len())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let lines = lines.iter().map(|line| {
        let cells = line.iter().zip(&widths);
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        format!("| {} |", cells.join(" | "))
    });
    lines.collect::<Vec<_>>().join("\n")
}
