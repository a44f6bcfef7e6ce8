//! What is recorded is repeated.

use super::*;

/// Records the calls: the answers, and the file.
fn record(seed: u64, calls: &[Call]) -> (Vec<String>, Vec<u8>) {
    let tape = Memory::recording(&description(), 8 << 20);
    let door = Door::new(World::new(seed), Some(tape));
    let answers = calls.iter().map(|call| make(&door, call)).collect();
    (answers, door.tape().unwrap().to_bytes())
}

fn replay(file: &[u8]) -> Door<World, Memory> {
    let recording = Recording::read(file).unwrap();
    Door::new(World::new(0), Some(Memory::replaying(&recording)))
}

#[test]
fn without_a_tape_a_door_is_the_platform_itself() {
    let (door, platform) = (Door::new(World::new(7), None::<Memory>), World::new(7));
    for call in [Call::Now, Call::Receive(100), Call::Wait, Call::Entropy(9)] {
        assert_eq!(make(&door, &call), make(&platform, &call));
    }
    assert_eq!(door.arguments().next(), Some("port=80"));
    assert_eq!(door.outcome(), Outcome::Open);
}

#[test]
fn a_replay_knows_arguments_and_devices_without_asking() {
    let (_, file) = record(1, &[]);
    let door = replay(&file);
    let arguments: Vec<&str> = door.arguments().collect();
    assert_eq!(arguments, ["port=80", "", "näme=x\ny"]);
    let names: Vec<_> = door.devices().map(|device| device.name).collect();
    assert_eq!(names, ["net", "disk"]);
    assert_eq!(door.net_info(NET), NET_INFO);
    assert_eq!(door.block_info(DISK), DISK_INFO);
}

#[test]
fn an_end_is_repeated_with_its_status() {
    let world = World::new(3);
    let door = Door::new(world, Some(Memory::recording(&description(), 1 << 20)));
    ending(|| door.exit(42));
    assert_eq!(door.outcome(), Outcome::Exited(42));
    let file = door.tape().unwrap().to_bytes();
    let again = replay(&file);
    ending(|| again.exit(42));
    assert_eq!(again.outcome(), Outcome::Exited(42));
    assert_eq!(again.platform().ended.get(), Some(42));

    let other = replay(&file);
    ending(|| other.exit(1));
    assert_eq!(
        other.outcome().to_string(),
        "the run diverges from the recording at event 7: in the recording it ends with status 42, \
         now it ends with status 1"
    );
}

#[test]
fn a_replay_that_has_used_everything_up_ends() {
    let (_, file) = record(1, &[Call::Now]);
    let door = replay(&file);
    make(&door, &Call::Now);
    ending(|| {
        make(&door, &Call::Send(vec![1, 2, 3], Transmit::default()));
    });
    let outcome = door.outcome();
    assert!(
        matches!(outcome, Outcome::UsedUp { event: 8, call } if call.len == 3),
        "{outcome:?}"
    );
    assert_eq!(door.platform().asked.get(), 0);
}

#[test]
fn a_divergence_says_what_was_expected_and_what_came() {
    let (_, file) = record(1, &[Call::Console(b"hello".to_vec())]);
    let door = replay(&file);
    ending(|| {
        make(&door, &Call::Read(512, vec![1024]));
    });
    assert_eq!(
        door.outcome().to_string(),
        std::format!(
            "the run diverges from the recording at event 7: in the recording it writes 5 bytes \
             to the console (checksum {:08x}), now it reads 1024 bytes at 512 of device 1",
            crate::wire::Checksum::of(b"hello")
        )
    );
}

#[test]
fn a_frame_longer_than_the_buffer_it_is_wanted_in_is_a_divergence() {
    for seed in 0..20 {
        let (answers, file) = record(seed, &[Call::Receive(1000)]);
        if !answers[0].contains("len") || answers[0].contains("len: 0,") {
            continue;
        }
        let door = replay(&file);
        ending(|| {
            make(&door, &Call::Receive(0));
        });
        assert!(matches!(door.outcome(), Outcome::Diverged { event: 7, .. }));
    }
}

#[test]
fn a_full_tape_without_checkpoints_ends_the_recording_and_not_the_program() {
    let tape = Memory::recording(&description(), LEAST_SEGMENT);
    let door = Door::new(World::new(3), Some(tape));
    for _ in 0..20_000 {
        make(&door, &Call::Now);
    }
    let Outcome::Full { event } = door.outcome() else {
        panic!("{:?}", door.outcome())
    };
    assert!((5_000..20_000).contains(&event));
    let file = door.tape().unwrap().to_bytes();
    let recording = Recording::read(&file).unwrap();
    assert_eq!(recording.len(), event);
    assert!(file.len() <= 2 * PAGE + LEAST_SEGMENT);
}

/// A tape of two segments whose checkpoint is a number, and which can be told to resume.
struct Fork {
    tape: Memory,
    state: Rc<Cell<u64>>,
    /// What is on the tape of the replay.
    resume: RefCell<Option<Vec<u8>>>,
    state_len: usize,
}

impl Tape for Fork {
    fn len(&self) -> usize {
        self.tape.len()
    }

    fn write(&self, at: usize, bytes: &[u8]) {
        self.tape.write(at, bytes);
    }

    fn read(&self, at: usize, buffer: &mut [u8]) {
        self.tape.read(at, buffer);
    }

    fn word(&self, at: usize) -> u64 {
        self.tape.word(at)
    }

    fn set_word(&self, at: usize, word: u64) {
        self.tape.set_word(at, word);
    }

    fn checkpoint(&self, at: usize, room: usize) -> Checkpoint {
        if let Some(file) = self.resume.take() {
            self.tape.write(0, &file);
            return Checkpoint::Resumed;
        }
        if self.state_len > room {
            return Checkpoint::TooLarge(self.state_len);
        }
        self.tape.set_word(at, self.state.get());
        Checkpoint::Saved(self.state_len)
    }
}

/// An empty file for a ring.
fn ring(len: usize) -> Memory {
    let mut file = description().file_head(len).unwrap();
    file.resize(len, 0);
    Memory::blank(file)
}

fn fork(tape: Memory, state_len: usize) -> Fork {
    Fork {
        tape,
        state: Rc::default(),
        resume: RefCell::default(),
        state_len,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_replay_answers_exactly_as_the_platform_did(seed in any::<u64>(), calls in calls()) {
        let (answers, file) = record(seed, &calls);
        let door = replay(&file);
        for (call, answer) in calls.iter().zip(&answers) {
            prop_assert_eq!(&make(&door, call), answer);
        }
        prop_assert_eq!(door.platform().asked.get(), 0, "the platform was asked");
        prop_assert_eq!(door.outcome(), Outcome::Open);
        let written: Vec<u8> = calls.iter().filter_map(|call| match call {
            Call::Console(bytes) => Some(bytes.clone()),
            _ => None,
        }).flatten().collect();
        prop_assert_eq!(&*door.platform().written.borrow(), &written);
    }

    #[test]
    fn a_recording_is_transparent(seed in any::<u64>(), calls in calls()) {
        let (answers, _) = record(seed, &calls);
        let platform = World::new(seed);
        for (call, answer) in calls.iter().zip(&answers) {
            prop_assert_eq!(&make(&platform, call), answer);
        }
    }

    #[test]
    fn a_program_that_gives_something_else_is_found_at_that_event(
        seed in any::<u64>(), calls in calls(), at in any::<prop::sample::Index>(),
    ) {
        let (_, file) = record(seed, &calls);
        let mut other = calls.clone();
        if other.is_empty() {
            return Ok(());
        }
        let at = at.index(other.len());
        match &mut other[at] {
            Call::Console(bytes) | Call::Write(_, bytes) | Call::Send(bytes, _)
                if !bytes.is_empty() => bytes[0] ^= 1,
            Call::Wait => other[at] = Call::Now,
            _ => other[at] = Call::Wait,
        }
        let door = replay(&file);
        ending(|| {
            for call in &other {
                make(&door, call);
            }
        });
        let event = match door.outcome() {
            Outcome::Diverged { event, .. } => event,
            outcome => panic!("{outcome:?}"),
        };
        prop_assert_eq!(event, at as u64 + BEGIN);
    }

    #[test]
    fn a_ring_is_repeated_from_its_older_checkpoint_to_its_end(
        seed in any::<u64>(), calls in calls(), state_len in 8usize..20_000,
    ) {
        // The program does the calls over and over; its state is how many it has done.
        let len = 2 * LEAST_SEGMENT + 2 * PAGE;
        let tape = fork(ring(len), state_len.next_multiple_of(8));
        let state = tape.state.clone();
        let door = Door::new(World::new(seed), Some(tape));
        let mut answers = Vec::new();
        if calls.is_empty() {
            return Ok(());
        }
        let number = |state: u64| &calls[state as usize % calls.len()];
        for _ in 0..1_500 {
            answers.push(make(&door, number(state.get())));
            state.set(state.get() + 1);
        }
        let file = door.tape().unwrap().tape.to_bytes();
        prop_assert!(file.len() <= len);
        let recording = Recording::read(&file).unwrap();
        let (first, _) = recording.events().next().unwrap().unwrap();
        prop_assert_eq!(recording.is_whole(), first == 0);
        if recording.is_whole() {
            return Ok(());
        }

        // A program that is where it was at the checkpoint: as many calls as events after the beginning.
        let tape = fork(ring(len), 8);
        let door = Door::new(World::new(0), Some(tape));
        let tape = door.tape().unwrap();
        tape.resume.replace(Some(recording.replay(false)));
        prop_assert!(door.resume_of_test(recording.beginning()));
        door.platform().asked.set(0);
        for state in first - BEGIN..1_500 {
            prop_assert_eq!(&make(&door, number(state)), &answers[state as usize]);
        }
        prop_assert_eq!(door.platform().asked.get(), 0, "the platform was asked");
        ending(|| { make(&door, &Call::Now); });
        let used_up = matches!(door.outcome(), Outcome::UsedUp { event, .. } if event == 1_500 + BEGIN);
        prop_assert!(used_up, "{:?}", door.outcome());
    }
}

#[test]
fn a_state_too_large_for_a_segment_ends_the_recording_with_its_size() {
    let len = 2 * LEAST_SEGMENT + 2 * PAGE;
    let tape = fork(ring(len), LEAST_SEGMENT);
    let door = Door::new(World::new(3), Some(tape));
    for _ in 0..20_000 {
        make(&door, &Call::Now);
    }
    let outcome = door.outcome();
    let state = LEAST_SEGMENT as u64;
    assert!(
        matches!(outcome, Outcome::TooLarge { state: s, .. } if s == state),
        "{outcome:?}"
    );
    // What was recorded before is there.
    let file = door.tape().unwrap().tape.to_bytes();
    assert!(Recording::read(&file).unwrap().is_whole());
}

#[test]
fn arguments_too_long_for_a_segment_end_the_recording_and_not_the_program() {
    let mut world = World::new(3);
    world.words = vec!["x".repeat(LEAST_SEGMENT * 2 / 3); 2];
    let door = Door::new(world, Some(fork(ring(2 * LEAST_SEGMENT + 2 * PAGE), 8)));
    assert_eq!(door.outcome(), Outcome::Full { event: 1 });
    assert_eq!(door.arguments().count(), 2);
    make(&door, &Call::Now);
    assert_eq!(door.platform().asked.get(), 1);
}
