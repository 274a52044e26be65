//! What is to be written to an agent: messages in order, of which long rows are made only as fast as the line takes them.

use std::collections::VecDeque;
use std::sync::Arc;

/// Bytes that lie ready for the line before more are made.
const AHEAD: usize = 128 << 10;

/// A message as it goes over the line, or why it can't. Several connections may share one.
pub type Frame = Result<Arc<[u8]>, String>;

/// Many messages, made one by one.
pub type Row = Box<dyn Iterator<Item = Frame> + Send>;

enum Part {
    Bytes(Vec<u8>),
    Row(Row),
}

/// Bytes that lie ready, and what comes behind them.
#[derive(Default)]
pub struct Outgoing {
    ready: VecDeque<u8>,
    behind: VecDeque<Part>,
}

impl Outgoing {
    /// Puts bytes behind everything else.
    pub fn put(&mut self, bytes: Vec<u8>) {
        if self.behind.is_empty() {
            self.ready.extend(bytes);
        } else {
            self.behind.push_back(Part::Bytes(bytes));
        }
    }

    /// Puts a row of messages behind everything else.
    pub fn put_row(&mut self, row: Row) {
        self.behind.push_back(Part::Row(row));
    }

    /// Makes what fits into the look-ahead. To be called before each round of writing.
    ///
    /// # Errors
    /// A message can't be sent.
    pub fn fill(&mut self) -> Result<(), String> {
        while self.ready.len() < AHEAD {
            match self.behind.front_mut() {
                None => return Ok(()),
                Some(Part::Row(row)) => match row.next() {
                    Some(frame) => self.ready.extend(frame?.iter()),
                    None => drop(self.behind.pop_front()),
                },
                Some(Part::Bytes(bytes)) => {
                    self.ready.extend(std::mem::take(bytes));
                    self.behind.pop_front();
                }
            }
        }
        Ok(())
    }

    /// The next bytes; empty: nothing is left.
    pub fn next(&self) -> &[u8] {
        self.ready.as_slices().0
    }

    /// So many of them were written.
    pub fn written(&mut self, bytes: usize) {
        self.ready.drain(..bytes);
    }

    /// Nothing lies ready.
    pub fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.ready.clear();
        self.behind.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn rows_are_made_as_they_are_written_and_keep_their_place() {
        let made = Arc::new(AtomicUsize::new(0));
        let counted = made.clone();
        let frame: Arc<[u8]> = vec![b'r'; 64 << 10].into();
        let row = (0..1000).map(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            Ok(frame.clone())
        });
        let mut outgoing = Outgoing::default();
        outgoing.put(b"first".to_vec());
        outgoing.put_row(Box::new(row));
        outgoing.put(b"last".to_vec());
        let (mut all, mut most) = (vec![], 0);
        loop {
            outgoing.fill().unwrap();
            let piece = outgoing.next().iter().take(10_000).copied().collect::<Vec<_>>();
            if piece.is_empty() {
                break;
            }
            outgoing.written(piece.len());
            all.extend(piece);
            most = most.max(made.load(Ordering::Relaxed) * (64 << 10) - all.len().min(1000 * (64 << 10)));
        }
        assert!(most <= AHEAD + (64 << 10), "{most}");
        assert_eq!(all.len(), "first".len() + 1000 * (64 << 10) + "last".len());
        assert!(all.starts_with(b"firstr") && all.ends_with(b"rlast"));
    }

    #[test]
    fn a_message_that_cannot_be_made_is_told() {
        let mut outgoing = Outgoing::default();
        outgoing.put_row(Box::new([Ok(Arc::from(*b"a")), Err("too long".to_owned())].into_iter()));
        assert_eq!(outgoing.fill(), Err("too long".to_owned()));
    }
}
