use mirage_keys::KeyType;
use proc_macro2::TokenStream;
use quote::quote;

use super::{format, path, sealed};
use crate::graph::Graph;
use crate::metadata::Model;
use crate::settings::{Step, Value};

/// `build.rs`: links as the platform says, and takes the providers' build steps. `None` when
/// there is nothing to do.
pub(super) fn generate(model: &Model, graph: &Graph, steps: &[Step]) -> Option<String> {
    let links = model.packages[graph.platform].links.as_deref().map(link);
    if links.is_none() && steps.is_empty() {
        return None;
    }
    let doc = format!(
        " Builds {} for `--on {}`. Made by `mirage`; changes are lost.",
        model.app().name,
        graph.on
    );
    let steps = steps.iter().map(|step| take(graph, step));
    Some(format(quote! {
        #![doc = #doc]

        fn main() {
            println!("cargo::rerun-if-changed=build.rs");
            #links
            #(#steps)*
        }
    }))
}

/// A platform's build script leaves its linker arguments in `link_args`, separated by `;`.
fn link(links: &str) -> TokenStream {
    let variable = format!("DEP_{}_LINK_ARGS", links.to_uppercase().replace('-', "_"));
    quote! {
        let arguments = std::env::var(#variable).unwrap_or_default();
        for argument in arguments.split(';').filter(|argument| !argument.is_empty()) {
            println!("cargo::rustc-link-arg-bins={argument}");
        }
    }
}

fn take(graph: &Graph, step: &Step) -> TokenStream {
    let device = &graph.devices[step.device];
    let Some(build) = &device.provider.build else {
        return quote!();
    };
    let function = path(&build.function);
    let file = sealed(graph, step.device);
    let failure = format!("cargo::error={}: {{error}}", device.name);
    let watched = step.values.iter().filter(|v| v.kind == KeyType::Path);
    let watched = watched.filter_map(|value| value.text.as_ref()).map(|path| {
        let line = format!("cargo::rerun-if-changed={path}");
        quote!(println!(#line);)
    });
    let inputs = format!("cargo::rerun-if-changed={}", inputs_file(&device.name));
    let arguments = step.values.iter().map(argument);
    quote! {
        #(#watched)*
        println!(#inputs);
        let out = std::path::PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default());
        if let Err(error) = #function(#(#arguments,)* &out.join(#file)) {
            println!(#failure);
        }
    }
}

/// The file that lists what a build step reads: Cargo compares times only, and a file that was
/// put back is older than what was made of it.
pub fn inputs_file(device: &str) -> String {
    format!("{device}.inputs")
}

fn argument(value: &Value) -> TokenStream {
    let Some(text) = &value.text else {
        return quote!(None);
    };
    let plain = match value.kind {
        KeyType::Path => quote!(std::path::Path::new(#text)),
        KeyType::Bool | KeyType::U16 | KeyType::U32 | KeyType::U64 => {
            text.parse::<TokenStream>().unwrap_or_default()
        }
        _ => quote!(#text),
    };
    if value.optional {
        quote!(Some(#plain))
    } else {
        plain
    }
}
