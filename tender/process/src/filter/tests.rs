use super::*;
use crate::bpf::LONGEST;
use crate::mac::Mac;
use crate::shared::Kind;
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

/// The kernel's interpreter, as linux/filter.txt describes it. `Err` where the kernel would
/// refuse the program.
fn run(program: &[Instruction], data: &[u32; 16]) -> Result<u32, &'static str> {
    let (mut a, mut x, mut memory) = (0u32, 0u32, [None::<u32>; 16]);
    let mut at = 0;
    loop {
        let Instruction { code, jt, jf, k } = *program.get(at).ok_or("ran off the end")?;
        at += 1;
        let cell = |memory: &[Option<u32>; 16]| memory[k as usize].ok_or("reads before it writes");
        let holds = match code {
            LD_ABS => {
                assert!(k % 4 == 0 && k < 64, "load at {k}");
                a = data[k as usize / 4];
                continue;
            }
            RET => return Ok(k),
            LD_IMM => {
                a = k;
                continue;
            }
            LD_MEM => {
                a = cell(&memory)?;
                continue;
            }
            LDX_MEM => {
                x = cell(&memory)?;
                continue;
            }
            ST => {
                memory[k as usize] = Some(a);
                continue;
            }
            TAX => {
                x = a;
                continue;
            }
            ADD_K => {
                a = a.wrapping_add(k);
                continue;
            }
            ADD_X => {
                a = a.wrapping_add(x);
                continue;
            }
            SUB_K => {
                a = a.wrapping_sub(k);
                continue;
            }
            JA => {
                at += k as usize;
                continue;
            }
            JEQ_K => a == k,
            JEQ_X => a == x,
            JGT_K => a > k,
            JGT_X => a > x,
            JGE_K => a >= k,
            JGE_X => a >= x,
            JSET_K => a & k != 0,
            _ => return Err("unknown instruction"),
        };
        at += usize::from(if holds { jt } else { jf });
    }
}

/// For each instruction whether every scratch word it reads is written before, by the rule of the
/// kernel's check_load_and_stores: it believes that a return goes on with the next instruction.
fn reads_are_written(program: &[Instruction]) -> Vec<bool> {
    let mut known = vec![u16::MAX; program.len() + 1];
    known[0] = 0;
    let mut result = Vec::new();
    let mut here = 0;
    for (at, Instruction { code, jt, jf, k }) in program.iter().copied().enumerate() {
        here &= known[at];
        let reads = matches!(code, LD_MEM | LDX_MEM);
        result.push(!reads || here & 1 << k != 0);
        match code {
            ST => here |= 1 << k,
            JA => {
                known[at + 1 + k as usize] &= here;
                here = u16::MAX;
            }
            code if code & 7 == 5 => {
                known[at + 1 + usize::from(jt)] &= here;
                known[at + 1 + usize::from(jf)] &= here;
                here = u16::MAX;
            }
            _ => {}
        }
    }
    result
}

fn call(program: &[Instruction], architecture: u32, number: u32, arguments: [u64; 6]) -> u32 {
    let mut data = [0; 16];
    data[0] = number;
    data[1] = architecture;
    // Where the call came from; nothing may depend on it.
    data[2..4].fill(0xdead_beef);
    for (place, argument) in data[4..].chunks_mut(2).zip(arguments) {
        place.copy_from_slice(&[argument as u32, (argument >> 32) as u32]);
    }
    run(program, &data).unwrap()
}

/// The rules, as one would tell them.
fn allowed(rights: &Rights<'_>, number: u32, [a, b, c, d, e, f]: [u64; 6]) -> bool {
    let device = |descriptor: u64| {
        let number = descriptor.checked_sub(4)?;
        rights.devices.get(usize::try_from(number).ok()?)
    };
    let net = |descriptor| matches!(device(descriptor), Some(Opened::Net { .. }));
    let inside = |descriptor, write: bool, offset: u64, len: u64| match device(descriptor) {
        Some(Opened::Block { size, writable }) => {
            (*writable || !write) && u128::from(offset) + u128::from(len) <= u128::from(*size)
        }
        _ => false,
    };
    match number {
        // readv, writev
        19 | 20 => net(a) && c == 2,
        // write: the console, or the tender's own words
        1 => a == 1 || a == 2 && (0x4_0000..0x10_0000).contains(&b),
        // pread64, pwrite64
        17 => inside(a, false, d, c),
        18 => inside(a, true, d, c),
        // fdatasync, fallocate
        75 => inside(a, true, 0, 0),
        285 => b == 3 && inside(a, true, c, d),
        // epoll_pwait2
        441 => a == 3 && e == 0,
        // getrandom, clock_gettime
        318 => c == 0,
        228 => a <= 1,
        // mmap
        9 => {
            let first = 4 + rights.devices.len() as u64;
            let at = e.checked_sub(first).and_then(|at| usize::try_from(at).ok());
            if let Some(Shared { kind, len }) = at.and_then(|at| rights.shared.get(at)) {
                return a == kind.address() && b == *len && c == 3 && d == 0x10_0001 && f == 0;
            }
            a == 0x1000_0000_0000
                && b <= STACK + rights.memory
                && c == 3
                && d == 0x10_4022
                && e == u64::MAX
                && f == 0
        }
        // madvise
        28 => {
            let end = u128::from(a) + u128::from(b);
            a >= 0x1000_0000_0000
                && end <= 0x1000_0000_0000 + u128::from(STACK + rights.memory)
                && c == 4
        }
        231 => true,
        // execveat
        322 => a == u64::from(rights.image) && b == rights.empty_path && e == 0x1000,
        _ => false,
    }
}

const NET: Opened = Opened::Net {
    mac: Mac([2, 0, 0, 0, 0, 1]),
    mtu: 1500,
    offload: true,
};

fn devices() -> impl Strategy<Value = Vec<Opened>> {
    let size = prop_oneof![
        1u64..5,
        0x7f_ffffu64..0x80_0002,
        Just(i64::MAX as u64 / 512)
    ];
    let block = (size, any::<bool>()).prop_map(|(sectors, writable)| Opened::Block {
        size: sectors * 512,
        writable,
    });
    prop::collection::vec(prop_oneof![Just(NET), block], 0..=63)
}

const COUNTERS: Shared = Shared {
    kind: Kind::Counters,
    len: 8192,
};
const RECORD: Shared = Shared {
    kind: Kind::Record,
    len: 5 << 32,
};

fn shared() -> impl Strategy<Value = &'static [Shared]> {
    prop::sample::select(vec![&[][..], &[COUNTERS], &[RECORD], &[COUNTERS, RECORD]])
}

/// A number near one that matters, or one of half a word changed, or any.
fn argument(devices: &[Opened], memory: u64) -> impl Strategy<Value = u64> + use<> {
    let mut edges = vec![
        0,
        1,
        2,
        3,
        4,
        0x1000,
        0x10_4022,
        0x10_0001,
        ARENA,
        COUNTERS.kind.address(),
        RECORD.kind.address(),
        COUNTERS.len,
        RECORD.len,
        ARENA + STACK + memory,
        STACK + memory,
    ];
    edges.extend([
        0x4_0000,
        0x10_0000,
        1 << 31,
        1 << 32,
        1 << 63,
        u64::MAX,
        68,
        0x4_2000,
    ]);
    edges.extend((0..devices.len() as u64 + 3).map(|number| number + 4));
    edges.extend(devices.iter().filter_map(|device| match device {
        Opened::Block { size, .. } => Some(*size),
        Opened::Net { .. } => None,
    }));
    prop_oneof![
        6 => (prop::sample::select(edges.clone()), -1i64..=1).prop_map(|(edge, by)| {
            edge.wrapping_add_signed(by)
        }),
        6 => prop::sample::select(edges.clone()),
        1 => (prop::sample::select(edges), any::<u32>())
            .prop_map(|(edge, high)| edge & 0xffff_ffff | u64::from(high) << 32),
        1 => any::<u64>(),
    ]
}

const CALLS: [u32; 14] = [1, 9, 17, 18, 19, 20, 28, 75, 228, 231, 285, 318, 322, 441];

type Case = (Vec<Opened>, &'static [Shared], u64, Vec<(u32, [u64; 6])>);

fn cases() -> impl Strategy<Value = Case> {
    let memory = prop_oneof![
        Just(32u64 << 20),
        Just(1 << 44),
        Just(5 << 32),
        Just(65_536)
    ];
    (devices(), shared(), memory).prop_flat_map(|(devices, shared, memory)| {
        let any_argument = || argument(&devices, memory);
        let number = prop_oneof![
            20 => prop::sample::select(&CALLS[..]),
            1 => 0u32..500,
            1 => any::<u32>(),
            1 => prop::sample::select(&CALLS[..]).prop_map(|number| number | 0x4000_0000),
        ];
        let one = (
            number,
            prop::array::uniform6(any_argument()),
            any::<[bool; 6]>(),
        );
        let size = move |number, mut arguments: [u64; 6], fit: [bool; 6], fitting: [u64; 6]| {
            // Half of the arguments as the call wants them: else hardly any call passes.
            for (place, (fit, value)) in arguments.iter_mut().zip(fit.into_iter().zip(fitting)) {
                if fit {
                    *place = value;
                }
            }
            (number, arguments)
        };
        let first = 4 + devices.len() as u64;
        let calls = one.prop_map(move |(number, arguments, fit)| {
            let fitting = fitting(number, memory, first, shared, arguments);
            size(number, arguments, fit, fitting)
        });
        (
            Just(devices),
            Just(shared),
            Just(memory),
            prop::collection::vec(calls, 64),
        )
    })
}

/// Arguments that pass, apart from descriptors and ranges.
fn fitting(
    number: u32,
    memory: u64,
    first_shared: u64,
    shared: &[Shared],
    given: [u64; 6],
) -> [u64; 6] {
    let [a, b, c, d, e, f] = given;
    match number {
        1 => [1, b, c, d, e, f],
        9 => match shared.iter().zip(first_shared..).nth(f as usize % 3) {
            Some((file, descriptor)) => {
                [file.kind.address(), file.len, 3, 0x10_0001, descriptor, 0]
            }
            None => [ARENA, STACK + memory, 3, 0x10_4022, u64::MAX, 0],
        },
        19 | 20 => [a, b, 2, d, e, f],
        28 => [ARENA, b, 4, d, e, f],
        228 => [1, b, c, d, e, f],
        285 => [a, 3, c, d, e, f],
        318 => [a, b, 0, d, e, f],
        322 => [68, 0x4_2000, c, d, 0x1000, f],
        441 => [3, b, c, d, 0, f],
        _ => given,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_program_allows_exactly_what_the_rules_allow(
        (devices, shared, memory, calls) in cases()
    ) {
        let rights = Rights { memory, devices: &devices, shared, image: 68, empty_path: 0x4_2000 };
        let mut room = vec![Instruction::default(); LONGEST];
        let program = build(&rights, &mut room).expect("it fits");
        for (number, arguments) in calls {
            let expected = if allowed(&rights, number, arguments) { ALLOW } else { KILL };
            let got = call(program, X86_64, number, arguments);
            prop_assert_eq!(got, expected, "call {} {:x?}", number, arguments);
            // The same call in the 32-bit table's disguise.
            prop_assert_eq!(call(program, 0x4000_0003, number, arguments), KILL);
        }
    }

    #[test]
    fn every_jump_lands_inside_and_the_program_is_whole(
        devices in devices(), shared in shared()
    ) {
        let rights =
            Rights { memory: 1 << 25, devices: &devices, shared, image: 68, empty_path: 0x4_2000 };
        let mut room = vec![Instruction::default(); LONGEST];
        let program = build(&rights, &mut room).expect("it fits");
        let valid = reads_are_written(program);
        for (at, instruction) in program.iter().enumerate() {
            let left = program.len() - at - 1;
            prop_assert!(valid[at], "reads at {} what may not be written", at);
            let Instruction { code, jt, jf, k } = *instruction;
            match code {
                JA => prop_assert!((k as usize) < left),
                code if code & 7 == 5 => {
                    prop_assert!(usize::from(jt.max(jf)) < left, "at {}", at);
                }
                _ => {}
            }
        }
        prop_assert_eq!(program.last().map(|last| last.code), Some(RET));
    }
}

#[test]
fn the_largest_program_fits_and_a_smaller_room_is_refused() {
    let devices = [Opened::Block {
        size: 512,
        writable: true,
    }; 63];
    let rights = Rights {
        memory: 1 << 25,
        devices: &devices,
        shared: &[COUNTERS, RECORD],
        image: 68,
        empty_path: 0x4_2000,
    };
    let mut room = vec![Instruction::default(); LONGEST];
    let len = build(&rights, &mut room).unwrap().len();
    assert!(build(&rights, &mut room[..len]).is_some());
    for less in [0, 1, 2, len / 2, len - 1] {
        assert!(build(&rights, &mut room[..less]).is_none(), "{less}");
    }
}

#[test]
fn a_range_may_end_exactly_at_the_end() {
    let size = 5 << 32;
    let devices = [Opened::Block {
        size,
        writable: true,
    }];
    let rights = Rights {
        memory: 1 << 25,
        devices: &devices,
        shared: &[],
        image: 5,
        empty_path: 0x4_2000,
    };
    let mut room = vec![Instruction::default(); LONGEST];
    let program = build(&rights, &mut room).unwrap();
    let pread = |offset, len| call(program, X86_64, PREAD64, [4, 0, len, offset, 0, 0]);
    assert_eq!(pread(0, size), ALLOW);
    assert_eq!(pread(size, 0), ALLOW);
    assert_eq!(pread(size - 512, 512), ALLOW);
    assert_eq!(pread(0xffff_ffff, 1), ALLOW);
    assert_eq!(pread(size - 511, 512), KILL);
    assert_eq!(pread(0, size + 1), KILL);
    assert_eq!(pread(u64::MAX, 1), KILL);
    assert_eq!(pread(1, u64::MAX), KILL);
    assert_eq!(pread(1 << 63, 1 << 63), KILL);
}
