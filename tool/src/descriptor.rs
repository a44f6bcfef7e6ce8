//! What packages say of themselves under `[package.metadata.mirage]`, read strictly.

use std::collections::BTreeMap;
use std::fmt;

use mirage_keys::KeyType;
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};

/// Everything one package says.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Descriptor {
    /// The function of an application, and the devices it takes.
    pub main: Option<Call>,
    /// What is not said of the application's devices by their names alone.
    pub devices: BTreeMap<String, Device>,
    /// The application's own keys.
    pub keys: BTreeMap<String, Key>,
    /// The interfaces the package provides, each with how.
    pub provides: BTreeMap<String, Provider>,
    /// The interfaces the package defines.
    pub interfaces: BTreeMap<String, Interface>,
    /// What can be made on the platform that the package is.
    pub platform: Option<Platform>,
}

/// A device of the application, or of the graph below it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Device {
    /// Its interface, where that is not its name.
    pub interface: Option<String>,
    /// The package to take it from, where several provide it.
    pub provider: Option<String>,
    /// Values for its provider's keys.
    #[serde(flatten)]
    pub values: BTreeMap<String, Scalar>,
}

/// How a package provides an interface.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Provider {
    /// The constructor, and the devices it takes.
    pub new: Call,
    /// The constructor is an `async fn`.
    #[serde(default)]
    pub r#async: bool,
    /// The constructor returns a `Result`.
    #[serde(default)]
    pub fallible: bool,
    /// The step that makes what is sealed into the image.
    pub build: Option<Build>,
    /// The build-time key that the device's own name stands for.
    pub primary: Option<String>,
    /// The artifacts it works in; all when it does not say.
    pub platforms: Option<Vec<Artifact>>,
    /// Its keys.
    #[serde(default)]
    pub keys: BTreeMap<String, Key>,
}

/// A function that runs on the developer's machine while the image is built.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Build {
    /// Its path.
    pub function: FnPath,
    /// The features of its package that it needs.
    #[serde(default)]
    pub features: Vec<String>,
}

/// A key, as it is declared.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// The type of its value.
    #[serde(rename = "type", deserialize_with = "key_type")]
    pub kind: KeyType,
    /// Its value where none is given.
    pub default: Option<Scalar>,
    /// A value must be given.
    #[serde(default)]
    pub required: bool,
    /// What it is for.
    #[serde(default)]
    pub doc: String,
    /// When it is read.
    #[serde(default)]
    pub at: Time,
}

/// When a key is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Time {
    /// While the image is built, on the developer's machine.
    Build,
    /// When the image boots, from its command line.
    #[default]
    Run,
}

/// An interface.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Interface {
    /// One instance serves everybody who asks for the same name.
    pub shared: bool,
    /// The kind of host resource each instance stands for.
    pub attached: Option<Attached>,
}

/// A kind of host resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attached {
    /// Ethernet frames.
    Net,
    /// Sectors.
    Block,
}

/// What can be made on a platform.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Platform {
    /// What is made.
    pub artifact: Artifact,
    /// The values of `--on` that it serves.
    pub runs_on: Vec<String>,
    /// The macro that makes it.
    pub entry: FnPath,
    /// The features of its package that only a generated crate turns on.
    #[serde(default)]
    pub features: Vec<String>,
}

/// What is made of an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Artifact {
    /// A sealed file without a standard library.
    Image,
    /// An ordinary executable.
    Program,
}

impl fmt::Display for Artifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Image => "image",
            Self::Program => "program",
        })
    }
}

/// A value in a Cargo.toml, kept as the text it would be on a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scalar(pub String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a string, a number or a boolean")]
        enum Any {
            Text(String),
            Number(u64),
            Bool(bool),
        }
        Ok(Self(match Any::deserialize(from)? {
            Any::Text(text) => text,
            Any::Number(number) => number.to_string(),
            Any::Bool(value) => value.to_string(),
        }))
    }
}

/// A path of at least two identifiers: `website::main`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FnPath(pub Vec<String>);

impl FnPath {
    /// The crate the path starts in.
    pub fn krate(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }

    /// The path of `name` beside what this path names.
    pub fn beside(&self, name: &str) -> Self {
        let mut path = self.0.clone();
        path.pop();
        path.push(name.into());
        Self(path)
    }

    /// `name` at the root of the path's crate.
    pub fn at_root(&self, name: &str) -> Self {
        Self(vec![self.krate().into(), name.into()])
    }

    fn read(path: &syn::ExprPath) -> Result<Self, String> {
        let plain = path.qself.is_none()
            && path.path.leading_colon.is_none()
            && path.path.segments.iter().all(|s| s.arguments.is_none());
        let segments: Vec<String> = path
            .path
            .segments
            .iter()
            .map(|s| s.ident.to_string())
            .collect();
        if plain && segments.len() > 1 {
            Ok(Self(segments))
        } else {
            Err(
                "expected a path that starts with the crate's name, as in `crate_name::main`"
                    .into(),
            )
        }
    }
}

impl fmt::Display for FnPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("::"))
    }
}

impl<'de> Deserialize<'de> for FnPath {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let path = syn::parse_str::<syn::ExprPath>(&text)
            .map_err(|error| D::Error::custom(format!("`{text}` is not a path: {error}")))?;
        Self::read(&path).map_err(D::Error::custom)
    }
}

/// A function and the names of its parameters: `website::main(stack, keys)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The function.
    pub path: FnPath,
    /// Its parameters, in order.
    pub parameters: Vec<String>,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.path, self.parameters.join(", "))
    }
}

impl<'de> Deserialize<'de> for Call {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::read(&text).map_err(|why| D::Error::custom(format!("`{text}`: {why}")))
    }
}

impl Call {
    fn read(text: &str) -> Result<Self, String> {
        const SHAPE: &str =
            "expected a function and the devices it takes, as in `crate_name::main(stack, keys)`";
        let call = syn::parse_str::<syn::ExprCall>(text).map_err(|_| SHAPE)?;
        let syn::Expr::Path(path) = &*call.func else {
            return Err(SHAPE.into());
        };
        let mut parameters: Vec<String> = Vec::new();
        for argument in &call.args {
            let name = match argument {
                syn::Expr::Path(path) => path.path.get_ident().map(ToString::to_string),
                _ => None,
            }
            .ok_or(SHAPE)?;
            if parameters.contains(&name) {
                return Err(format!(
                    "`{name}` stands twice; give each device a name of its own"
                ));
            }
            parameters.push(name);
        }
        Ok(Self {
            path: FnPath::read(path)?,
            parameters,
        })
    }
}

fn key_type<'de, D: Deserializer<'de>>(from: D) -> Result<KeyType, D::Error> {
    let text = String::deserialize(from)?;
    text.parse()
        .map_err(|error| D::Error::custom(format!("`{text}` is {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_a_path_and_names() {
        let call = Call::read("website::main(stack, assets, keys)").unwrap();
        assert_eq!(call.path.krate(), "website");
        assert_eq!(call.path.beside("Keys").to_string(), "website::Keys");
        assert_eq!(call.parameters, ["stack", "assets", "keys"]);
        assert_eq!(call.to_string(), "website::main(stack, assets, keys)");
    }

    #[test]
    fn anything_else_is_refused_with_the_shape_that_is_expected() {
        for text in [
            "website::main",
            "main()",
            "a::b(1)",
            "a::b(c::d)",
            "(a)(b)",
            "",
            "a::<u8>::b()",
        ] {
            let error = Call::read(text).unwrap_err();
            assert!(error.contains("expected"), "{text}: {error}");
        }
        assert!(Call::read("a::b(net, net)").unwrap_err().contains("twice"));
    }

    proptest::proptest! {
        #[test]
        fn a_call_reads_what_it_shows(
            path in proptest::collection::vec("[a-z][a-z0-9_]{0,6}_9", 2..5),
            parameters in proptest::collection::btree_set("[a-z][a-z0-9_]{0,6}_9", 0..5),
        ) {
            let parameters: Vec<String> = parameters.into_iter().collect();
            let call = Call { path: FnPath(path), parameters };
            assert_eq!(Call::read(&call.to_string()), Ok(call));
        }

        #[test]
        fn whatever_is_read_as_a_call_is_nothing_but_names(
            text in "[a-z]{1,3}(::|:|\\.|<u8>)?[a-z]{0,3}\\(?[a-z, :1&!]{0,9}\\)?[;?]?",
        ) {
            if let Ok(call) = Call::read(&text) {
                let plain = |name: &String| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
                assert!(call.path.0.len() > 1 && call.path.0.iter().all(plain), "{text}");
                assert!(call.parameters.iter().all(plain), "{text}");
                assert_eq!(Call::read(&call.to_string()), Ok(call));
            }
        }
    }
}
