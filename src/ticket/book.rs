//! A ticket book: where each machine's ticket is, for platforms where all machines share one
//! secret. Whoever holds the book can use all of it.

use std::collections::BTreeMap;

use super::TicketError;
use super::document::{malformed, parse_url};
use crate::job::Vantage;
use crate::rendezvous::keys::TICKET_MAX;
use crate::secret::Secret;

/// Ticket URLs, each by a label or an index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Book(BTreeMap<String, Secret>);

/// Who looks for its ticket in a book.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    /// Its label, if it has one.
    pub label: Option<Vantage>,
    /// Its number among machines that are alike, from 0.
    pub index: Option<u32>,
}

impl Book {
    /// A book of these URLs.
    pub fn new(urls: BTreeMap<String, Secret>) -> Self {
        Book(urls)
    }

    /// Each label with its URL, in the order that indices count in.
    pub fn urls(&self) -> impl Iterator<Item = (&str, &Secret)> {
        self.0.iter().map(|(label, url)| (label.as_str(), url))
    }

    /// As JSON, one object of texts. It is secret.
    ///
    /// # Errors
    /// Never for texts.
    pub fn write(&self) -> Result<String, TicketError> {
        let exposed: BTreeMap<&str, &str> = self
            .urls()
            .map(|(label, url)| (label, url.expose()))
            .collect();
        serde_json::to_string_pretty(&exposed).map_err(malformed)
    }

    /// Reads a book.
    ///
    /// # Errors
    /// What is wrong with it, without any of it.
    pub fn read(body: &[u8]) -> Result<Self, TicketError> {
        if body.len() as u64 > TICKET_MAX.0 {
            return Err(TicketError::TooLarge(TICKET_MAX.0));
        }
        let urls: BTreeMap<String, String> = serde_json::from_slice(body).map_err(malformed)?;
        let is_name = |name: &str| name.parse::<Vantage>().is_ok();
        if urls.is_empty() || !urls.keys().all(|name| is_name(name)) {
            let why = "its names must be labels or indices".to_owned();
            return Err(TicketError::Malformed(why));
        }
        if !urls.values().all(|url| parse_url(url).is_some()) {
            let why = "each of its texts must be a URL".to_owned();
            return Err(TicketError::Malformed(why));
        }
        let secret = |(name, url)| (name, Secret::new(url));
        Ok(Book(urls.into_iter().map(secret).collect()))
    }

    /// The URL of `holder`'s ticket: by its label if it has one, else by its index, which is a
    /// name in the book or counts its labels in their order.
    ///
    /// # Errors
    /// When nothing says which it is, or the book has none for it.
    pub fn url_of(&self, holder: &Holder) -> Result<&Secret, TicketError> {
        let labels = || self.0.keys().cloned().collect::<Vec<_>>().join(", ");
        let (url, wanted) = match (&holder.label, holder.index) {
            (Some(label), index) => {
                // Of machines alike at a vantage of several probers, the number says which.
                let slot = || self.0.get(&format!("{label}/{}", index?));
                let url = self.0.get(label.as_str()).or_else(slot);
                (url, format!("`{label}`"))
            }
            (None, Some(index)) => {
                let nth = usize::try_from(index).unwrap_or(usize::MAX);
                let named = self.0.get(&index.to_string());
                let counted = self.0.values().nth(nth);
                (named.or(counted), format!("index {index}"))
            }
            (None, None) => return Err(TicketError::Whose { labels: labels() }),
        };
        url.ok_or_else(|| TicketError::NotInBook {
            wanted,
            labels: labels(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book(names: &[&str]) -> Book {
        let urls = names
            .iter()
            .map(|name| (*name, format!("https://store.example/{name}?hunter2")));
        let json = serde_json::to_string(&urls.collect::<BTreeMap<_, _>>()).unwrap();
        Book::read(json.as_bytes()).unwrap()
    }

    fn found(book: &Book, label: Option<&str>, index: Option<u32>) -> Result<String, TicketError> {
        let label = label.map(|l| l.parse().unwrap());
        let url = book.url_of(&Holder { label, index })?.expose();
        Ok(url.rsplit(['/', '?']).nth(1).unwrap().to_owned())
    }

    #[test]
    fn a_label_is_looked_up_an_index_counts() {
        let places = book(&["lhr", "iad"]);
        assert_eq!(found(&places, Some("lhr"), Some(0)), Ok("lhr".into()));
        let several = book(&["iad/0", "iad/1", "lhr"]);
        for (label, index, ticket) in [
            (Some("iad/1"), None, "iad/1"),
            (Some("iad"), Some(1), "iad/1"),
            (Some("lhr"), Some(1), "lhr"),
            (None, Some(1), "iad/1"),
        ] {
            let url = several.url_of(&Holder {
                label: label.map(|l| l.parse().unwrap()),
                index,
            });
            assert!(
                url.unwrap()
                    .expose()
                    .ends_with(&format!("/{ticket}?hunter2"))
            );
        }
        let error = found(&several, Some("iad"), None).unwrap_err().to_string();
        assert!(error.contains("it has iad/0, iad/1, lhr"), "{error}");
        assert_eq!(found(&places, None, Some(0)), Ok("iad".into()));
        assert_eq!(found(&places, None, Some(1)), Ok("lhr".into()));
        assert_eq!(found(&book(&["1", "0"]), None, Some(1)), Ok("1".into()));
        let error = |label, index| found(&places, label, index).unwrap_err().to_string();
        assert!(error(Some("sjc"), None).contains("it has iad, lhr"));
        assert!(error(None, Some(2)).contains("index 2"));
        assert!(error(None, None).contains("MUSTER_INDEX"));
    }

    #[test]
    fn what_is_written_is_read_back_and_never_shown() {
        let places = book(&["lhr", "iad"]);
        let text = places.write().unwrap();
        assert_eq!(Book::read(text.as_bytes()), Ok(places.clone()));
        assert!(!format!("{places:?}").contains("hunter"));
        for bad in [
            "{}",
            "[]",
            r#"{"iad": "hunter2"}"#,
            r#"{"New York": "https://x"}"#,
        ] {
            let said = Book::read(bad.as_bytes()).unwrap_err().to_string();
            assert!(!said.contains("hunter"), "{said}");
        }
    }
}
