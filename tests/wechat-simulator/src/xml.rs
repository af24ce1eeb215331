//! The flat XML of v2: reading it strictly and writing it as WeChat does.

use quick_xml::Reader;
use quick_xml::events::Event;

use crate::sign::Fields;

/// The largest message that is read, in bytes.
const LARGEST: usize = 64 * 1024;

/// Why a text is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum XmlError {
    /// More than 64 KiB.
    #[error("message too large")]
    TooLarge,
    /// A document type, a processing instruction or an unknown entity.
    #[error("document types and entities are refused")]
    Forbidden,
    /// The same element twice.
    #[error("duplicate element")]
    Duplicate,
    /// Anything else: not well-formed, nested, or without one root.
    #[error("malformed message")]
    Malformed,
}

/// Reads `<xml><name>value</name>...</xml>` into names and raw values.
///
/// # Errors
/// Anything that is not exactly such a flat document.
pub fn read(text: &str) -> Result<Fields, XmlError> {
    if text.len() > LARGEST {
        return Err(XmlError::TooLarge);
    }
    let mut reader = Reader::from_str(text);
    let mut fields = Fields::new();
    let mut open: Vec<String> = Vec::new();
    let mut value = String::new();
    let mut roots = 0_u8;
    loop {
        match reader.read_event().map_err(|_| XmlError::Malformed)? {
            Event::Start(start) => {
                open.push(start.name().as_ref().to_owned());
                value.clear();
                match open.len() {
                    1 if roots == 0 => roots = 1,
                    2 => {}
                    _ => return Err(XmlError::Malformed),
                }
            }
            Event::Empty(empty) if open.len() == 1 => {
                insert(&mut fields, empty.name().as_ref(), String::new())?;
            }
            Event::End(_) => {
                let name = open.pop().ok_or(XmlError::Malformed)?;
                if open.len() == 1 {
                    insert(&mut fields, &name, std::mem::take(&mut value))?;
                }
            }
            Event::Text(piece) if open.len() == 2 => value.push_str(&piece.xml10_content()),
            Event::Text(piece) if piece.xml10_content().trim().is_empty() => {}
            Event::CData(piece) if open.len() == 2 => value.push_str(&piece.xml10_content()),
            Event::GeneralRef(entity) if open.len() == 2 => {
                let known = match entity.resolve_char_ref().map_err(|_| XmlError::Malformed)? {
                    Some(character) => character,
                    None => named(&entity.xml10_content()).ok_or(XmlError::Forbidden)?,
                };
                value.push(known);
            }
            Event::Decl(_) | Event::Comment(_) => {}
            Event::Eof if open.is_empty() && roots == 1 => return Ok(fields),
            Event::DocType(_) | Event::PI(_) => return Err(XmlError::Forbidden),
            _ => return Err(XmlError::Malformed),
        }
    }
}

/// Writes a message under `<xml>`, as WeChat does: amounts and counts bare,
/// everything else in CDATA.
#[must_use]
pub fn write(fields: &Fields) -> String {
    write_under("xml", fields)
}

/// As [`write`], under another root (`root` in refund notifications).
#[must_use]
pub fn write_under(root: &str, fields: &Fields) -> String {
    let body: String = fields
        .iter()
        .map(|(name, value)| element(name, value))
        .collect();
    format!("<{root}>{body}</{root}>")
}

/// One element of a message.
#[must_use]
pub fn element(name: &str, value: &str) -> String {
    let number = (name.contains("fee") || name.contains("count"))
        && !value.is_empty()
        && value.bytes().all(|byte| byte.is_ascii_digit());
    if number {
        return format!("<{name}>{value}</{name}>");
    }
    // A CDATA section cannot hold its own end, so that is cut in two.
    let safe = value.replace("]]>", "]]]]><![CDATA[>");
    format!("<{name}><![CDATA[{safe}]]></{name}>")
}

fn insert(fields: &mut Fields, name: &str, value: String) -> Result<(), XmlError> {
    match fields.insert(name.to_owned(), value) {
        None => Ok(()),
        Some(_) => Err(XmlError::Duplicate),
    }
}

fn named(entity: &str) -> Option<char> {
    match entity {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_survives_writing_and_reading() {
        let mut fields = Fields::new();
        fields.insert("attach".to_owned(), "a & b <c> ]]> 支付".to_owned());
        fields.insert("total_fee".to_owned(), "100".to_owned());
        fields.insert("empty".to_owned(), String::new());
        let text = write(&fields);
        assert!(text.contains("<total_fee>100</total_fee>"));
        assert_eq!(read(&text), Ok(fields));
    }

    #[test]
    fn text_cdata_and_entities_are_read_raw() {
        let fields = read("<xml>\n <a> x </a><b><![CDATA[1]]>2&amp;&#65;</b><c/>\n</xml>").unwrap();
        assert_eq!(fields["a"], " x ");
        assert_eq!(fields["b"], "12&A");
        assert_eq!(fields["c"], "");
    }

    #[test]
    fn everything_else_is_refused() {
        let table = [
            ("<!DOCTYPE x><xml><a>1</a></xml>", XmlError::Forbidden),
            ("<xml><a>&x;</a></xml>", XmlError::Forbidden),
            ("<xml><a>1</a><a>2</a></xml>", XmlError::Duplicate),
            ("<xml><a><b>1</b></a></xml>", XmlError::Malformed),
            ("<xml><a>1</xml>", XmlError::Malformed),
            ("<xml><a>1</a>", XmlError::Malformed),
            ("<xml></xml><xml></xml>", XmlError::Malformed),
            ("<xml></xml>tail", XmlError::Malformed),
            ("{\"a\":1}", XmlError::Malformed),
            ("", XmlError::Malformed),
        ];
        for (text, error) in table {
            assert_eq!(read(text), Err(error), "{text}");
        }
        assert_eq!(read(&" ".repeat(LARGEST + 1)), Err(XmlError::TooLarge));
    }
}
