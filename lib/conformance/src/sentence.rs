use core::fmt;

/// What a sentence of a contract is about: the column of the book's table that it stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aspect {
    /// What the method does.
    Does,
    /// Whether it waits or returns at once, and for what.
    Waits,
    /// What dropping its future loses.
    Cancel,
    /// Who owns a buffer.
    Owns,
    /// What is durable when it returns.
    Durable,
    /// Which errors there are, and which are final.
    Errors,
}

impl Aspect {
    /// All of them, in the order of the book's columns.
    pub const ALL: [Self; 6] = [
        Self::Does,
        Self::Waits,
        Self::Cancel,
        Self::Owns,
        Self::Durable,
        Self::Errors,
    ];

    /// The column's heading.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Does => "Does",
            Self::Waits => "Waits",
            Self::Cancel => "Cancel-safe",
            Self::Owns => "Ownership",
            Self::Durable => "Durability",
            Self::Errors => "Errors",
        }
    }
}

/// A sentence of a contract, word for word as it stands in the documentation of `mirage-device`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sentence {
    /// Whose documentation it stands in: a trait, or `Trait::item`.
    pub item: &'static str,
    /// The method it is about, empty for the whole interface. It is not always the item: what
    /// `Read::read` of a flow does stands in the documentation of `FlowRead`.
    pub method: &'static str,
    /// What it is about.
    pub aspect: Aspect,
    /// The sentence.
    pub text: &'static str,
    /// Why no test can check it, when none can.
    pub unchecked: Option<&'static str>,
}

impl Sentence {
    /// The same sentence, about the item's own method where it has one.
    pub(crate) const fn named(mut self) -> Self {
        let bytes = self.item.as_bytes();
        let mut at = 0;
        while at + 1 < bytes.len() {
            if bytes[at] == b':' && bytes[at + 1] == b':' {
                self.method = self.item.split_at(at + 2).1;
            }
            at += 1;
        }
        self
    }
}

impl fmt::Display for Sentence {
    /// `Clock::now: "Never less than an earlier answer."`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: \"{}\"", self.item, self.text)
    }
}

/// The whole contract of a device interface.
#[derive(Debug, Clone, Copy)]
pub struct Contract {
    /// The interface's name in a unikernel's description, `clock`.
    pub device: &'static str,
    /// Every sentence, in the order of the documentation.
    pub sentences: &'static [Sentence],
}

impl Contract {
    /// The sentences that a suite checks.
    pub fn checked(&self) -> impl Iterator<Item = &'static Sentence> {
        self.sentences.iter().filter(|s| s.unchecked.is_none())
    }
}

/// Reasons that hold for many sentences.
pub(crate) mod because {
    /// It says what there is; the sentences after it say how it behaves.
    pub const IT_DESCRIBES: &str =
        "it says what there is; the sentences beside it say how it behaves";
    /// The compiler checks it.
    pub const TYPES_SAY_IT: &str = "the types of Rust say it, and the compiler checks them";
    /// A provider that does less or more keeps it too.
    pub const IT_ALLOWS: &str = "it allows and demands nothing: every behaviour keeps it";
    /// It binds the caller.
    pub const IT_BINDS_CALLERS: &str = "it binds the caller, not the provider";
}

/// Writes a contract down: for each item the sentences of its documentation, each as a constant
/// that the suite names (`NAME: Aspect "text";`) or as one that no test can check
/// (`_: Aspect "text", REASON;`). An item is a trait, `"Trait::item"`, or, where a trait's
/// documentation is about a method that stands elsewhere, `("Trait" as "method")`.
macro_rules! contract {
    ($device:literal $( $item:tt {
        $( $name:tt: $aspect:ident $text:literal $(, $why:expr)?; )*
    } )*) => {
        $( $( $crate::sentence::constant! {
            $name [$crate::sentence::sentence!($item $aspect $text $($why)?)]
        } )* )*

        /// Every sentence of the contract.
        pub const CONTRACT: $crate::Contract = $crate::Contract {
            device: $device,
            sentences: &[ $( $(
                $crate::sentence::sentence!($item $aspect $text $($why)?),
            )* )* ],
        };
    };
}

macro_rules! constant {
    (_ [$sentence:expr]) => {};
    ($name:ident [$sentence:expr]) => {
        #[allow(missing_docs, reason = "it is its own documentation")]
        pub const $name: $crate::Sentence = $sentence;
    };
}

macro_rules! sentence {
    (($item:literal as $method:literal) $aspect:ident $text:literal $($why:expr)?) => {
        $crate::Sentence {
            item: $item,
            method: $method,
            aspect: $crate::Aspect::$aspect,
            text: $text,
            unchecked: $crate::sentence::first(&[$($why)?]),
        }
    };
    ($item:literal $aspect:ident $text:literal $($why:expr)?) => {
        $crate::sentence::sentence! {
            ($item as "") $aspect $text $($why)?
        }
        .named()
    };
}

pub(crate) use {constant, contract, sentence};

pub(crate) const fn first(given: &[&'static str]) -> Option<&'static str> {
    match given {
        [first, ..] => Some(first),
        [] => None,
    }
}
