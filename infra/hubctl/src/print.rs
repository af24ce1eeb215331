//! Answers on stdout: tables for people, JSON for scripts.

use serde::Serialize;

use crate::Done;

/// An answer for a script.
#[expect(clippy::print_stdout, reason = "a command line answers on stdout")]
pub(crate) fn json(answer: &impl Serialize) -> Done {
    println!("{}", serde_json::to_string_pretty(answer)?);
    Ok(())
}

/// One thing: an object for a script, or a line for each of its fields.
pub(crate) fn object(answer: &impl Serialize, as_json: bool) -> Done {
    if as_json {
        return json(answer);
    }
    let shown = serde_json::to_value(answer)?;
    let fields = shown.as_object().into_iter().flatten();
    let rows = fields.map(|(name, value)| {
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        [name.clone(), text]
    });
    table(["WHAT", "VALUE"], rows);
    Ok(())
}

/// Many things: an array for a script, or a line for each.
pub(crate) fn list<T: Serialize, const N: usize>(
    all: &[T],
    as_json: bool,
    head: [&str; N],
    line: impl Fn(&T) -> [String; N],
) -> Done {
    if as_json {
        return json(&all);
    }
    table(head, all.iter().map(line));
    Ok(())
}

/// Columns as wide as what is in them, the last one as it is.
#[expect(clippy::print_stdout, reason = "a command line answers on stdout")]
pub(crate) fn table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) {
    let mut lines = vec![head.map(str::to_owned)];
    lines.extend(rows.into_iter().map(|row| row.map(|cell| plain(&cell))));
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..N)
        .map(|column| width(column).unwrap_or_default())
        .collect();
    for line in &lines {
        let cells = line.iter().zip(&widths);
        let padded: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        println!("{}", padded.join("  ").trim_end());
    }
}

/// Part of it is somebody's own text, which must not move a terminal's cursor, nor
/// turn or hide what stands beside it.
pub(crate) fn plain(text: &str) -> String {
    let plain = |character: char| match character {
        _ if character.is_control() || is_unseen(character) => ' ',
        _ => character,
    };
    text.chars().map(plain).collect()
}

/// Without a width, or a change of the direction or the line.
fn is_unseen(character: char) -> bool {
    matches!(
        character,
        '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
    )
}
