//! What was injected beside what was reported of it, as a table for people.

use std::fmt::{self, Display};

/// A figure of muster's under one condition, with what it is held to.
pub struct Row {
    /// What was done to the media.
    pub condition: &'static str,
    /// What was measured, with its unit.
    pub figure: String,
    /// Over UDP.
    pub udp: Held,
    /// Over TCP, where that is another row's figure as well.
    pub tcp: Option<Held>,
    /// What the official Python SDK reports.
    pub python: Told,
    /// What `lk load-test` reports.
    pub lk: Told,
}

/// What muster reports, held against the truth.
#[derive(Clone, Copy)]
pub struct Held {
    /// What the relay really did, by its own record of these packets.
    pub truth: f64,
    /// What was to be injected at least: where nothing happens, any figure of it is right.
    pub least: f64,
    /// What muster reports.
    pub muster: f64,
    /// How far they may be apart.
    pub bound: f64,
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
    /// It has no such figure, or wasn't asked.
    Nothing,
    /// It isn't on PATH.
    Absent,
}

impl Row {
    /// Whether muster is as exact as it is held to be, over each transport.
    pub fn holds(&self) -> bool {
        self.udp.holds() && self.tcp.is_none_or(|tcp| tcp.holds())
    }
}

impl Held {
    /// Whether muster is as exact as it is held to be. What was not measured isn't.
    pub fn holds(&self) -> bool {
        self.truth >= self.least && self.off() <= self.bound
    }

    /// How far it is off.
    pub fn off(&self) -> f64 {
        (self.muster - self.truth).abs()
    }
}

impl Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let beyond = if self.holds() { "" } else { " **beyond**" };
        let (muster, truth, bound) = (self.muster, self.truth, self.bound);
        write!(f, "{muster:.2} ({truth:.2} ± {bound:.2}){beyond}")
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
    const COLUMNS: usize = 6;
    let mut lines = vec![
        [
            "injected",
            "figure",
            "muster over UDP (record ± bound)",
            "over TCP (record ± bound)",
            "Python SDK (record)",
            "lk (record)",
        ]
        .map(str::to_owned),
        ["---"; COLUMNS].map(str::to_owned),
    ];
    for row in rows {
        lines.push([
            row.condition.to_owned(),
            row.figure.clone(),
            row.udp.to_string(),
            row.tcp.map_or_else(String::new, |tcp| tcp.to_string()),
            row.python.to_string(),
            row.lk.to_string(),
        ]);
    }
    let widths: Vec<usize> = (0..COLUMNS)
        .map(|column| {
            let cells = lines.iter().map(|line| line[column].chars().count());
            cells.max().unwrap_or(0)
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
