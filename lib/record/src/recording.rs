use core::fmt;
use core::time::Duration;

use crate::description::Description;
use crate::event::{Event, Kind};
use crate::format::{DESCRIPTION, LEAST_SEGMENT, MAGIC, PAGE, SEGMENT, START, STATUS};
use crate::outcome::Outcome;
use crate::tape::{Segment, Tape};
use crate::wire::Reader;

/// A recording that was read and found whole. Whoever wrote it need not be trusted.
#[derive(Debug)]
pub struct Recording<'a> {
    file: &'a [u8],
    description: Description,
    first: Segment,
    events: u64,
    span: Duration,
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
            clock: 0,
        }
    }

    /// How it ended, as the unikernel itself left it.
    pub fn outcome(&self) -> Outcome {
        Outcome::read(self.file)
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
            self.clock = 0;
            return self.next();
        }
        let mut reader = Reader::new(self.file, self.at, self.segment.end);
        let number = self.number;
        let Some(mut event) = Event::read(&mut reader) else {
            self.at = usize::MAX;
            self.segment.number = u64::MAX;
            return Some(Err(RecordingError::Event(number)));
        };
        self.at = reader.at;
        self.number = self.number.wrapping_add(1);
        if event.kind == Kind::Now {
            self.clock = self.clock.wrapping_add(event.offset);
            event.offset = self.clock;
        }
        Some(Ok((number, event)))
    }
}
