//! Structs, merged field by field.

use super::{Merger, Refused};

/// A struct whose fields are merged each by itself.
///
/// `#[derive(irmin::Merge)]` (feature `derive`) writes it: a field is merged by the function that
/// `#[merge(...)]` names, or else by [`equal`](super::equal).
///
/// ```
/// # #[cfg(feature = "derive")] {
/// use std::collections::BTreeSet;
///
/// use irmin::merge::{Merger, by_field, counter, set};
///
/// #[derive(Clone, Debug, PartialEq, irmin::Merge)]
/// struct Project {
///     name: String,
///     #[merge(set())]
///     tags: BTreeSet<String>,
///     #[merge(counter())]
///     visits: i64,
/// }
///
/// let base = Project { name: "Store".into(), tags: BTreeSet::new(), visits: 5 };
/// let ours = Project { visits: 6, tags: ["rust".into()].into(), ..base.clone() };
/// let theirs = Project { visits: 7, name: "Irmin".into(), ..base.clone() };
///
/// let merged = by_field().merge(Some(&base), &ours, &theirs)?;
/// assert_eq!(merged, Project { name: "Irmin".into(), tags: ["rust".into()].into(), visits: 8 });
///
/// let other = Project { name: "Mill".into(), ..base.clone() };
/// let refused = by_field().merge(Some(&base), &other, &theirs).unwrap_err();
/// assert_eq!(refused.why, "name: both sides changed it");
/// # }
/// # Ok::<(), irmin::merge::Refused>(())
/// ```
pub trait Fields: Sized {
    /// Merges each field.
    ///
    /// # Errors
    /// [`Refused`] by the first field that refuses, with its name.
    fn merge_fields(base: Option<&Self>, ours: &Self, theirs: &Self) -> Result<Self, Refused>;
}

/// See [`by_field`].
pub struct ByField;

/// For structs: each field by its own merge function, see [`Fields`].
pub fn by_field() -> ByField {
    ByField
}

impl<T: Fields> Merger<T> for ByField {
    fn merge(&self, base: Option<&T>, ours: &T, theirs: &T) -> Result<T, Refused> {
        T::merge_fields(base, ours, theirs)
    }
}
