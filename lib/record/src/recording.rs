use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::description::Description;
use crate::event::{Event, Kind};
use crate::format::{
    CHECKPOINT, CHECKPOINT_LEN, DESCRIPTION, EVENTS, EVENTS_END, LEAST_SEGMENT, MAGIC, MODE,
    OUTCOME, PAGE, REPLAY, REPLAY_AND_PAUSE, SEGMENT, SEGMENT_HEAD, START, STATUS, number_at,
};
use crate::outcome::Outcome;
use crate::tape::{Tape, place};

/// A recording that was read and found whole. Whoever wrote it need not be trusted.
pub struct Recording<'a> {
    file: &'a [u8],
    description: Description,
    first: Segment,
    events: u64,
    span: Duration,
}

impl fmt::Debug for Recording<'_> {
    /// Without the file itself, which is long and may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recording")
            .field("description", &self.description)
            .field("first", &self.first)
            .field("events", &self.events)
            .field("span", &self.span)
            .finish_non_exhaustive()
    }
}

/// Why a file is no recording that can be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordingError {
    /// It does not begin as a recording does.
    NotARecording,
    /// It is one of another version.
    Version(u8),
    /// Its first pages contradict themselves.
    Head,
    /// It holds nothing yet: the unikernel was not started.
    Empty,
    /// The event with this number is none, or the file ends in it.
    Event(u64),
    /// Its events are not numbered one after the other.
    Gap,
}

impl fmt::Display for RecordingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotARecording => f.write_str("it is not a recording"),
            Self::Version(version) => write!(
                f,
                "it is a recording of version {version}; this is for version {}",
                version_of(MAGIC)
            ),
            Self::Head => f.write_str("its head is damaged"),
            Self::Empty => f.write_str("it is empty: the unikernel was never started"),
            Self::Event(event) => write!(f, "it is damaged or cut short at event {event}"),
            Self::Gap => f.write_str("it is damaged: a part is missing between its segments"),
        }
    }
}

impl core::error::Error for RecordingError {}

const fn version_of([.., version]: [u8; 8]) -> u8 {
    version
}

/// Whether a file that begins with these bytes is a recording, of any version.
fn begins_like_one(file: &[u8]) -> Option<u8> {
    let (name, _) = MAGIC.split_at(7);
    let (begin, rest) = file.split_at_checked(7)?;
    (begin == name).then(|| rest.first().copied())?
}

impl<'a> Recording<'a> {
    /// Reads a file and checks it whole: every event of it is one.
    pub fn read(file: &'a [u8]) -> Result<Self, RecordingError> {
        match begins_like_one(file) {
            None => return Err(RecordingError::NotARecording),
            Some(version) if version != version_of(MAGIC) => {
                return Err(RecordingError::Version(version));
            }
            Some(_) => {}
        }
        let description = head(file).ok_or(RecordingError::Head)?;
        let first = Segment::oldest(file).ok_or(RecordingError::Empty)?;
        let mut recording = Self {
            file,
            description,
            first,
            events: 0,
            span: Duration::ZERO,
        };
        let (mut began, mut now) = (None, 0);
        let mut events = recording.events();
        for event in &mut events {
            let (_, event) = event?;
            if event.kind == Kind::Now {
                now = event.offset;
                began = began.or(Some(now));
            }
        }
        let count = events.number.wrapping_sub(first.first);
        let begin = recording.events().next().and_then(Result::ok);
        let begins = |(number, event): &(u64, Event)| *number == 0 && event.kind == Kind::Argument;
        if first.number == 1 && !begin.is_some_and(|begin| begins(&begin)) {
            return Err(RecordingError::Event(0));
        }
        recording.events = count;
        recording.span = Duration::from_nanos(now.saturating_sub(began.unwrap_or(now)));
        Ok(recording)
    }

    /// What was recorded.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Whether it begins where the unikernel did, or with a checkpoint later on.
    pub fn is_whole(&self) -> bool {
        self.first.number == 1
    }

    /// How many events it holds.
    pub fn len(&self) -> u64 {
        self.events
    }

    /// Whether it holds no event.
    pub fn is_empty(&self) -> bool {
        self.events == 0
    }

    /// The time it covers, by the unikernel's own clock.
    pub fn span(&self) -> Duration {
        self.span
    }

    /// The events with their numbers; a [`Kind::Now`]'s offset is the clock's time.
    pub fn events(&self) -> Events<'a> {
        Events {
            file: self.file,
            segment: self.first,
            at: self.first.events,
            number: self.first.first,
            clock: self.first.clock,
        }
    }

    /// The number of its first event, and what the clock showed before it.
    #[cfg(test)]
    pub(crate) fn beginning(&self) -> (u64, u64) {
        (self.first.first, self.first.clock)
    }

    /// The copy that is repeated, whole pages: a tape for [`Door::new`](crate::Door::new). It
    /// pauses at its end if a debugger is there.
    pub fn replay(&self, pause: bool) -> Vec<u8> {
        let mut copy = self.file.get(..PAGE).unwrap_or_default().to_vec();
        copy.resize(PAGE, 0);
        let (at, len) = self.first.checkpoint;
        copy.extend_from_slice(self.file.get(at..at + len).unwrap_or_default());
        let events = copy.len();
        let mut segment = Some(self.first);
        while let Some(Segment {
            number,
            events,
            end,
            ..
        }) = segment
        {
            copy.extend_from_slice(self.file.get(events..end).unwrap_or_default());
            segment = number
                .checked_add(1)
                .and_then(|next| Segment::numbered(self.file, next));
        }
        let words = [
            (MODE, if pause { REPLAY_AND_PAUSE } else { REPLAY }),
            (OUTCOME, 0),
            (EVENTS, events as u64),
            (EVENTS_END, copy.len() as u64),
            (CHECKPOINT, PAGE as u64),
            (CHECKPOINT_LEN, len as u64),
        ];
        for (at, word) in words {
            if let Some(place) = copy.get_mut(at..at + 8) {
                place.copy_from_slice(&word.to_le_bytes());
            }
        }
        copy.resize(copy.len().next_multiple_of(PAGE), 0);
        copy
    }

    /// How it ended, as the unikernel itself left it.
    pub fn outcome(&self) -> Outcome {
        Outcome::read(self.file)
    }

    /// The bytes from the file's beginning that hold everything; what follows can be cut off once
    /// nobody records any more.
    pub fn used(&self) -> usize {
        let both = (0..2).filter_map(|index| Segment::find(self.file, index));
        both.map(|segment| segment.end).max().unwrap_or(PAGE)
    }

    /// The exit status, as whoever started the unikernel saw it.
    pub fn status(&self) -> Option<u8> {
        let word = self.file.word(STATUS).checked_sub(1)?;
        u8::try_from(word).ok()
    }

    /// Where in a file that word is, and what it is for a status.
    pub fn status_word(status: u8) -> (u64, [u8; 8]) {
        (STATUS as u64, (u64::from(status) + 1).to_le_bytes())
    }
}

fn head(file: &[u8]) -> Option<Description> {
    let number = |at| usize::try_from(file.word(at)).ok();
    let (start, segment) = (number(START)?, number(SEGMENT)?);
    let description = number(DESCRIPTION)?;
    let fits = start.is_multiple_of(PAGE)
        && segment.is_multiple_of(PAGE)
        && segment >= LEAST_SEGMENT
        && start.checked_add(segment.checked_mul(2)?).is_some()
        && PAGE.checked_add(description)? <= start;
    fits.then_some(())?;
    let text = file.get(PAGE..PAGE + description)?;
    Description::parse(core::str::from_utf8(text).ok()?)
}

/// A segment that is whole, as far as its own words tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Segment {
    number: u64,
    /// The number of its first event.
    first: u64,
    /// What the clock showed last before it.
    clock: u64,
    /// Where its checkpoint lies, and its length.
    checkpoint: (usize, usize),
    /// Where its events begin and end.
    events: usize,
    end: usize,
}

impl Segment {
    /// The segment in place `index`, if a valid one is there.
    fn find(tape: &[u8], index: usize) -> Option<Self> {
        let number = tape.word(number_at(index));
        let used = usize::try_from(tape.word(number_at(index) + 8)).ok()?;
        let (start, len) = place(tape, index);
        let end = start.checked_add(used)?;
        // A slice's own length: it is a tape, too.
        if number == 0 || used > len || end > <[u8]>::len(tape) || tape.word(start) != number {
            return None;
        }
        let checkpoint = usize::try_from(tape.word(start + 16)).ok()?;
        let events = start.checked_add(SEGMENT_HEAD)?.checked_add(checkpoint)?;
        (events <= end).then_some(Self {
            number,
            first: tape.word(start + 8),
            clock: tape.word(start + 24),
            checkpoint: (start + SEGMENT_HEAD, checkpoint),
            events,
            end,
        })
    }

    /// The segment that a replay begins with: the older one, unless something is missing between
    /// the two.
    fn oldest(tape: &[u8]) -> Option<Self> {
        match (Self::find(tape, 0), Self::find(tape, 1)) {
            (Some(a), Some(b)) if b.follows(&a) => Some(a),
            (Some(a), Some(b)) if a.follows(&b) => Some(b),
            (Some(a), Some(b)) => Some(if a.number > b.number { a } else { b }),
            (a, b) => a.or(b),
        }
    }

    /// The segment with this number.
    fn numbered(tape: &[u8], number: u64) -> Option<Self> {
        let mut both = (0..2).filter_map(|index| Self::find(tape, index));
        both.find(|segment| segment.number == number)
    }

    fn follows(&self, other: &Self) -> bool {
        other.number.checked_add(1) == Some(self.number)
    }
}

/// The events of a recording.
#[derive(Debug)]
pub struct Events<'a> {
    file: &'a [u8],
    segment: Segment,
    at: usize,
    number: u64,
    clock: u64,
}

impl Iterator for Events<'_> {
    type Item = Result<(u64, Event), RecordingError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.segment.end {
            let next = self.segment.number.checked_add(1)?;
            self.segment = Segment::numbered(self.file, next)?;
            if self.segment.first != self.number {
                self.at = usize::MAX;
                return Some(Err(RecordingError::Gap));
            }
            self.at = self.segment.events;
            return self.next();
        }
        let number = self.number;
        let Some((mut event, next)) = Event::read(self.file, self.at, self.segment.end) else {
            self.at = usize::MAX;
            self.segment.number = u64::MAX;
            return Some(Err(RecordingError::Event(number)));
        };
        self.at = next;
        self.number = self.number.wrapping_add(1);
        if event.kind == Kind::Now {
            self.clock = self.clock.wrapping_add(event.offset);
            event.offset = self.clock;
        }
        Some(Ok((number, event)))
    }
}
