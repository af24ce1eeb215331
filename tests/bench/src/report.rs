//! Figures on a terminal: tables, medians, and budgets that hold or do not.

use std::time::Duration;

/// What a figure may be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Budget {
    /// This or less.
    AtMost(f64),
    /// This or more.
    AtLeast(f64),
}

/// The budgets, and whether one is broken.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<Vec<String>>,
    over: u32,
}

impl Report {
    /// Holds a figure against its budget; both are in this unit.
    pub(crate) fn hold(&mut self, name: &str, figure: f64, budget: Budget, unit: &str) {
        let (limit, good) = match budget {
            Budget::AtMost(limit) => (limit, figure <= limit),
            Budget::AtLeast(limit) => (limit, figure >= limit),
        };
        self.over += u32::from(!good);
        let verdict = if good { "PASS" } else { "OVER" };
        self.rows.push(vec![
            name.to_owned(),
            format!("{figure:.2} {unit}"),
            format!("{limit} {unit}"),
            verdict.to_owned(),
        ]);
    }

    /// A budget that could not be measured here: said, and not held against
    /// anybody.
    pub(crate) fn unmeasured(&mut self, name: &str, why: &str) {
        self.rows.push(vec![
            name.to_owned(),
            "-".to_owned(),
            why.to_owned(),
            "NOT MEASURED".to_owned(),
        ]);
    }

    /// Prints them; true when all hold.
    pub(crate) fn print(&self) -> bool {
        println!("\nBudgets\n");
        table(&["", "measured", "budget", ""], &self.rows);
        println!("\n{} budgets, {} broken", self.rows.len(), self.over);
        self.over == 0
    }
}

/// Prints a table, the first column to the left and the others to the right.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) {
    let width = |column: usize| {
        let cells = rows
            .iter()
            .filter_map(|row| row.get(column))
            .map(String::as_str);
        let cells = cells.chain(head.get(column).copied());
        cells
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let mut text = String::new();
        for (column, (cell, width)) in cells.iter().zip(&widths).enumerate() {
            let width = *width;
            text.push_str(&match column {
                0 => format!("{cell:width$}"),
                _ => format!("  {cell:>width$}"),
            });
        }
        println!("{}", text.trim_end());
    };
    line(head.to_vec());
    for row in rows {
        line(row.iter().map(String::as_str).collect());
    }
}

/// The lower quartile, the median and the upper quartile.
pub(crate) fn quartiles(mut samples: Vec<Duration>) -> [Duration; 3] {
    samples.sort();
    let last = samples.len().saturating_sub(1);
    [1, 2, 3].map(|quarter| samples.get(last * quarter / 4).copied().unwrap_or_default())
}

/// A duration in milliseconds, with their fractions.
pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
