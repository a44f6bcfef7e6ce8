//! Groups of marked lines slid to where Git has them.
//!
//! A group whose first line is equal to the line behind it means the same one line further down. Each
//! is slid as far down as it goes, or as far as it stands beside a group of the other text; groups that
//! meet become one.

/// A run of marked lines, perhaps empty: before each unmarked line and at the end there is one.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Group {
    start: usize,
    end: usize,
}

impl Group {
    fn first(marks: &[bool]) -> Group {
        Group::from(marks, 0)
    }

    fn from(marks: &[bool], start: usize) -> Group {
        let end = start + marks[start..].iter().take_while(|mark| **mark).count();
        Group { start, end }
    }

    fn is_empty(self) -> bool {
        self.start == self.end
    }

    fn next(self, marks: &[bool]) -> Option<Group> {
        (self.end < marks.len()).then(|| Group::from(marks, self.end + 1))
    }

    fn before(self, marks: &[bool]) -> Group {
        let end = self.start.saturating_sub(1);
        let before = marks[..end].iter().rev().take_while(|mark| **mark).count();
        Group {
            start: end - before,
            end,
        }
    }

    /// One line up, if it can be; takes in a group that it meets.
    fn up(&mut self, text: &[u32], marks: &mut [bool]) -> bool {
        let can = self.start > 0 && text[self.start - 1] == text[self.end - 1];
        if can {
            marks[self.start - 1] = true;
            marks[self.end - 1] = false;
            (self.start, self.end) = (self.start - 1, self.end - 1);
            while self.start > 0 && marks[self.start - 1] {
                self.start -= 1;
            }
        }
        can
    }

    /// One line down, if it can be; takes in a group that it meets.
    fn down(&mut self, text: &[u32], marks: &mut [bool]) -> bool {
        let can = self.end < text.len() && text[self.start] == text[self.end];
        if can {
            marks[self.start] = false;
            marks[self.end] = true;
            (self.start, self.end) = (self.start + 1, self.end + 1);
            while self.end < text.len() && marks[self.end] {
                self.end += 1;
            }
        }
        can
    }
}

/// Slides the groups of one text; `other` are the marks of the other one.
pub(super) fn slide(text: &[u32], marks: &mut [bool], other: &mut [bool]) {
    let mut group = Group::first(marks);
    let mut beside = Group::first(other);
    loop {
        if !group.is_empty() {
            slide_one(text, marks, &mut group, other, &mut beside);
        }
        let (Some(next), Some(next_beside)) = (group.next(marks), beside.next(other)) else {
            return;
        };
        (group, beside) = (next, next_beside);
    }
}

fn slide_one(
    text: &[u32],
    marks: &mut [bool],
    group: &mut Group,
    other: &[bool],
    beside: &mut Group,
) {
    // Where it could stand beside a group of the other text, the last such place.
    let mut is_beside;
    let mut highest;
    loop {
        let size = group.end - group.start;
        while group.up(text, marks) {
            *beside = beside.before(other);
        }
        highest = group.end;
        is_beside = !beside.is_empty();
        while group.down(text, marks) {
            if let Some(next) = beside.next(other) {
                *beside = next;
            }
            is_beside |= !beside.is_empty();
        }
        if group.end - group.start == size {
            break;
        }
    }
    if group.end != highest && is_beside {
        while beside.is_empty() && group.up(text, marks) {
            *beside = beside.before(other);
        }
    }
}
