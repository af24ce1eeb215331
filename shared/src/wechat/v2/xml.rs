//! WeChat's flat XML, `<xml><name>value</name>...</xml>`, read into a map as
//! it stands and written with CDATA. Declarations that could define or fetch
//! anything, nested or repeated elements and bodies over 64 KiB are refused.

use quick_xml::Reader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::Event;

use crate::domain::signature::Params;

/// The largest document that is looked at.
pub const MAX_BYTES: usize = 64 * 1024;

/// Why a document was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

/// Reads a flat document. Values are kept to the byte: signatures cover them.
///
/// # Errors
/// The first rule the document breaks.
pub fn parse(bytes: &[u8]) -> Result<Params, Malformed> {
    const SYNTAX: Malformed = Malformed("not well-formed XML");
    const NESTED: Malformed = Malformed("elements must not be nested");
    if bytes.len() > MAX_BYTES {
        return Err(Malformed("larger than 64 KiB"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Malformed("not UTF-8"))?;
    let mut reader = Reader::from_str(text);
    reader.config_mut().check_end_names = true;

    let mut fields = Params::new();
    // Depth 0 is outside the root, 1 inside it, 2 inside a field.
    let mut field: Option<(String, String)> = None;
    let mut in_root = false;
    let mut root_seen = false;
    loop {
        match reader.read_event().map_err(|_| SYNTAX)? {
            Event::Eof => break,
            Event::DocType(_) => return Err(Malformed("DOCTYPE is not allowed")),
            Event::PI(_) => return Err(Malformed("processing instructions are not allowed")),
            Event::Decl(_) | Event::Comment(_) => {}
            Event::Start(start) => match (in_root, &field) {
                (false, _) if root_seen => return Err(Malformed("more than one root element")),
                (false, _) => (in_root, root_seen) = (true, true),
                (true, None) => field = Some((name(start.name().as_ref())?, String::new())),
                (true, Some(_)) => return Err(NESTED),
            },
            Event::Empty(empty) if in_root && field.is_none() => {
                insert(&mut fields, name(empty.name().as_ref())?, String::new())?;
            }
            Event::Empty(_) => return Err(NESTED),
            Event::End(_) => match field.take() {
                Some((name, value)) => insert(&mut fields, name, value)?,
                None => in_root = false,
            },
            Event::Text(piece) => match &mut field {
                Some((_, value)) => value.push_str(&piece),
                None if piece.trim().is_empty() => {}
                None => return Err(Malformed("text outside of an element")),
            },
            Event::CData(piece) => match &mut field {
                Some((_, value)) => value.push_str(&piece),
                None => return Err(Malformed("text outside of an element")),
            },
            // Only the five built-in entities and character references exist.
            Event::GeneralRef(reference) => {
                let Some((_, value)) = &mut field else {
                    return Err(Malformed("text outside of an element"));
                };
                if let Some(character) = reference.resolve_char_ref().map_err(|_| SYNTAX)? {
                    value.push(character);
                } else {
                    value.push_str(resolve_xml_entity(&reference).ok_or(SYNTAX)?);
                }
            }
        }
    }
    if in_root || field.is_some() || !root_seen {
        return Err(SYNTAX);
    }
    Ok(fields)
}

fn name(name: &str) -> Result<String, Malformed> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if !name.is_empty() && name.len() <= 64 && name.bytes().all(plain) {
        Ok(name.to_owned())
    } else {
        Err(Malformed("an element's name is not WeChat's"))
    }
}

fn insert(fields: &mut Params, name: String, value: String) -> Result<(), Malformed> {
    match fields.insert(name, value) {
        None => Ok(()),
        Some(_) => Err(Malformed("an element is repeated")),
    }
}

/// Writes a flat document.
#[must_use]
pub fn write(fields: &Params) -> String {
    let mut text = String::from("<xml>");
    for (name, value) in fields {
        // CDATA cannot contain its own end.
        let value = value.replace("]]>", "]]]]><![CDATA[>");
        text.push_str(&format!("<{name}><![CDATA[{value}]]></{name}>"));
    }
    text.push_str("</xml>");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn flat_documents_are_read_to_the_byte() {
        let fields = parse(
            b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<xml>\n <a><![CDATA[ x&y ]]></a>\n \
              <b>1 &lt; 2 &#x4e2d;</b><c></c><d/><e>x<![CDATA[y]]>z</e>\n</xml>\n",
        )
        .unwrap();
        let expected = [
            ("a", " x&y "),
            ("b", "1 < 2 中"),
            ("c", ""),
            ("d", ""),
            ("e", "xyz"),
        ];
        let expected: Params = expected
            .into_iter()
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect();
        assert_eq!(fields, expected);
    }

    #[test]
    fn tricks_are_refused() {
        for document in [
            "",
            "plain",
            "<xml>",
            "<xml></yml>",
            "<xml/>",
            "<a/><xml><b>1</b></xml>",
            "<xml><b>1</b></xml><a/>",
            "<xml><a>1</a>",
            "<xml><a>1</b></xml>",
            "<xml><a>1</a><a>2</a></xml>",
            "<xml><a>1</a><a/></xml>",
            "<xml><a><b>1</b></a></xml>",
            "<xml><a><b/></a></xml>",
            "<xml><a>1</a></xml><xml><b>2</b></xml>",
            "<xml><a>1</a></xml>tail",
            "<xml>text<a>1</a></xml>",
            "<!DOCTYPE xml [<!ENTITY x \"y\">]><xml><a>&x;</a></xml>",
            "<!DOCTYPE xml SYSTEM \"http://evil.example/x.dtd\"><xml><a>1</a></xml>",
            "<xml><a>&unknown;</a></xml>",
            "<?php evil ?><xml><a>1</a></xml>",
            "<xml><a:b>1</a:b></xml>",
            "<xml><a-b>1</a-b></xml>",
        ] {
            assert!(parse(document.as_bytes()).is_err(), "{document}");
        }
        assert!(parse(b"<xml><a>\xff</a></xml>").is_err());
    }

    #[test]
    fn a_document_is_at_most_64_kib_long_and_a_name_64_characters() {
        let document = |length: usize| {
            let around = "<xml><a></a></xml>".len();
            format!("<xml><a>{}</a></xml>", "x".repeat(length - around))
        };
        assert!(parse(document(65_536).as_bytes()).is_ok());
        assert_eq!(
            parse(document(65_537).as_bytes()),
            Err(Malformed("larger than 64 KiB"))
        );
        for (length, is_read) in [(64, true), (65, false)] {
            let name = "n".repeat(length);
            let document = format!("<xml><{name}>1</{name}></xml>");
            assert_eq!(parse(document.as_bytes()).is_ok(), is_read, "{length}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            fields in proptest::collection::btree_map("[a-z][a-z0-9_]{0,12}", "[^\\x00-\\x1f\\x7f]{0,40}", 1..8),
        ) {
            prop_assert_eq!(parse(write(&fields).as_bytes()).unwrap(), fields);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = parse(&bytes);
        }
    }
}
