//! The contracts of this crate are the documentation of `mirage-device`, word for word.

use std::collections::BTreeMap;
use std::path::Path;

use mirage_conformance::CONTRACTS;
use syn::{Attribute, Expr, Item, Lit, Meta, TraitItem};

/// Traits of `mirage-device` without a suite of their own, and why.
const WITHOUT_SUITE: [(&str, &str); 1] = [(
    "Platform",
    "it is checked through the devices that mirage-runtime makes of it, on every platform",
)];

/// The sentences of each trait and of each of its items, by name.
fn documented() -> BTreeMap<String, Vec<String>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../device/src");
    let mut documented = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let file = syn::parse_file(&std::fs::read_to_string(&path).unwrap()).unwrap();
        for item in file.items {
            let Item::Trait(item) = item else { continue };
            let name = item.ident.to_string();
            if WITHOUT_SUITE.iter().any(|(without, _)| *without == name) {
                continue;
            }
            documented.insert(name.clone(), sentences(&item.attrs));
            for part in item.items {
                let (ident, attributes) = match part {
                    TraitItem::Fn(method) => (method.sig.ident, method.attrs),
                    TraitItem::Type(associated) => (associated.ident, associated.attrs),
                    _ => continue,
                };
                documented.insert(format!("{name}::{ident}"), sentences(&attributes));
            }
        }
    }
    documented
}

/// The sentences of a documentation comment; an example in it is none.
fn sentences(attributes: &[Attribute]) -> Vec<String> {
    let mut text = String::new();
    let mut code = false;
    for attribute in attributes {
        let Meta::NameValue(pair) = &attribute.meta else {
            continue;
        };
        let Expr::Lit(value) = &pair.value else {
            continue;
        };
        let (true, Lit::Str(line)) = (pair.path.is_ident("doc"), &value.lit) else {
            continue;
        };
        let line = line.value();
        if line.trim_start().starts_with("```") {
            code = !code;
        } else if !code {
            text.push_str(line.trim());
            text.push(' ');
        }
    }
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    words
        .split_inclusive(". ")
        .map(|sentence| sentence.trim().to_owned())
        .collect()
}

#[test]
fn every_sentence_of_the_documentation_is_checked_or_listed_with_a_reason() {
    let mut missing = Vec::new();
    for (item, sentences) in documented() {
        for sentence in sentences {
            let known = CONTRACTS
                .iter()
                .flat_map(|contract| contract.sentences)
                .any(|known| known.item == item && known.text == sentence);
            if !known {
                missing.push(format!("{item}: {sentence:?}"));
            }
        }
    }
    assert!(
        missing.is_empty(),
        "mirage-device says what no suite checks; add each sentence to the contract of its module \
         in lib/conformance/src, with its check or with the reason why there is none:\n{}",
        missing.join("\n")
    );
}

#[test]
fn every_sentence_of_a_contract_stands_in_the_documentation_in_the_same_order() {
    let documented = documented();
    let mut ours: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for sentence in CONTRACTS.iter().flat_map(|contract| contract.sentences) {
        ours.entry(sentence.item).or_default().push(sentence.text);
    }
    for (item, sentences) in ours {
        let theirs = documented.get(item);
        assert_eq!(
            Some(sentences.iter().map(ToString::to_string).collect()),
            theirs.cloned(),
            "the documentation of `{item}` in lib/device/src says otherwise than lib/conformance"
        );
    }
}

#[test]
fn a_reason_is_given_for_what_no_test_checks() {
    for sentence in CONTRACTS.iter().flat_map(|contract| contract.sentences) {
        assert!(
            sentence.unchecked.is_none_or(|why| why.len() > 10),
            "{sentence}"
        );
    }
}
