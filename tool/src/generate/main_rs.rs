use proc_macro2::TokenStream;
use quote::quote;

use super::{format, ident, path, sealed, variables};
use crate::descriptor::{Artifact, Attached, FnPath, Time};
use crate::graph::{Argument, Graph, KeyEntry};
use crate::metadata::Model;

/// `main.rs`: one call of the platform's macro, and what is sealed.
pub(super) fn generate(model: &Model, graph: &Graph) -> String {
    let app = model.app();
    let doc = format!(
        " {} for `--on {}`: its devices, connected. Made by `mirage`; changes are lost.",
        app.name, graph.on
    );
    let attributes = match graph.artifact {
        Artifact::Image => quote!(#![no_std] #![no_main]),
        Artifact::Program => quote!(),
    };
    let mut parts = vec![format(quote!(#![doc = #doc] #attributes))];
    parts.extend(sealed_items(graph).into_iter().map(format));
    parts.push(entry(model, graph));
    parts.join("\n")
}

/// What the build steps made, aligned for any use.
fn sealed_items(graph: &Graph) -> Vec<TokenStream> {
    let variables = variables(graph);
    let steps = graph.devices.iter().enumerate();
    let steps = steps.filter(|(_, device)| device.provider.build.is_some());
    let mut items: Vec<TokenStream> = steps
        .map(|(at, device)| {
            let name = ident(&variables[at].to_string().to_uppercase());
            let doc = format!(" What the build step of the device `{}` made.", device.name);
            let file = format!("/{}", sealed(graph, at));
            quote! {
                #[doc = #doc]
                static #name: &Aligned<[u8]> =
                    &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), #file)));
            }
        })
        .collect();
    if !items.is_empty() {
        items.push(quote! {
            #[doc = " Bytes at an address that suits any type."]
            #[repr(align(16))]
            struct Aligned<T: ?Sized>(T);
        });
    }
    items
}

/// The macro call. It reads like a struct literal, and is formatted as one.
fn entry(model: &Model, graph: &Graph) -> String {
    let platform = model.packages[graph.platform].descriptor.platform.as_ref();
    let entry = platform.map_or_else(TokenStream::new, |platform| path(&platform.entry));
    let devices = graph.attached().map(|(device, attached)| {
        let name = &device.name;
        let kind = match attached {
            Attached::Net => quote!(Net),
            Attached::Block => quote!(Block),
        };
        quote!((#name, #kind))
    });
    let own = &model.app().descriptor.keys;
    let keys = graph.keys_at(own, Time::Run).map(|entry| key(&entry));
    let body = body(model, graph);
    let text = format(quote! {
        fn main() {
            #entry {
                devices: [#(#devices),*],
                keys: [#(#keys),*],
                main: |runtime, keys| async move { #body },
            }
        }
    });
    let call = entry.to_string().replace(' ', "");
    let mut lines = text.lines();
    lines.next();
    lines.next_back();
    let lines: Vec<&str> = lines
        .map(|line| line.strip_prefix("    ").unwrap_or(line))
        .collect();
    lines.join("\n").replacen(&call, &format!("{call}!"), 1) + "\n"
}

fn key(entry: &KeyEntry<'_>) -> TokenStream {
    let address = &entry.address;
    let kind = entry.key.kind.name();
    let kind = ident(&(kind[..1].to_uppercase() + &kind[1..]));
    let doc = &entry.key.doc;
    let default = match entry.default {
        Some(value) => quote!(Some(#value)),
        None => quote!(None),
    };
    let required = entry.key.required;
    quote!((#address, #kind, #default, #required, #doc))
}

/// The devices, each after those it takes, and then the application.
fn body(model: &Model, graph: &Graph) -> TokenStream {
    let mut writer = Writer {
        model,
        graph,
        variables: variables(graph),
        uses: uses(graph),
    };
    let devices: Vec<TokenStream> = (0..graph.devices.len())
        .map(|at| writer.device(at))
        .collect();
    let main = path(&graph.main.path);
    let takes_keys = graph.arguments.contains(&Argument::Keys);
    let keys = takes_keys.then(|| {
        let own = graph.keys(&model.app().descriptor.keys);
        let own = own.into_iter().filter(|entry| entry.device.is_none());
        let value = keys_struct(&graph.main.path.beside("Keys"), own);
        quote!(let keys = #value;)
    });
    let arguments: Vec<TokenStream> = graph
        .arguments
        .iter()
        .map(|argument| match argument {
            Argument::Device(device) => writer.pass(*device),
            _ => quote!(keys),
        })
        .collect();
    quote! {
        #(#devices)*
        #keys
        let outcome = #main(#(#arguments),*).await;
        runtime.finish(outcome)
    }
}

struct Writer<'a> {
    model: &'a Model,
    graph: &'a Graph,
    variables: Vec<proc_macro2::Ident>,
    /// How often each device is still to be passed on.
    uses: Vec<usize>,
}

impl Writer<'_> {
    fn device(&mut self, at: usize) -> TokenStream {
        let device = &self.graph.devices[at];
        let name = &device.name;
        let new = path(&device.provider.new.path);
        let keys_name = ident(&format!("{}_keys", self.variables[at]));
        let mut keys = quote!();
        let arguments: Vec<TokenStream> = device
            .arguments
            .iter()
            .map(|argument| match argument {
                Argument::Device(other) => self.pass(*other),
                Argument::Runtime => quote!(runtime.clone()),
                Argument::Name => quote!(#name),
                Argument::Sealed => {
                    let sealed = ident(&self.variables[at].to_string().to_uppercase());
                    quote!(&#sealed.0)
                }
                Argument::Keys => {
                    let own = &self.model.app().descriptor.keys;
                    let mine = self.graph.keys_at(own, Time::Run);
                    let mine = mine.filter(|entry| entry.device == Some(at));
                    let path = device.provider.new.path.at_root("Keys");
                    let value = keys_struct(&path, mine);
                    keys = quote!(let #keys_name = #value;);
                    quote!(#keys_name)
                }
            })
            .collect();
        let variable = &self.variables[at];
        let value = quote!(#new(#(#arguments),*));
        // Step by step: each line stays short.
        let finished = match (device.provider.r#async, device.provider.fallible) {
            (false, false) => quote!(),
            (true, false) => quote!(let #variable = #variable.await;),
            (false, true) => quote!(let #variable = runtime.check(#name, #variable)?;),
            (true, true) => quote!(let #variable = runtime.check(#name, #variable.await)?;),
        };
        quote! {
            #keys
            let #variable = #value;
            #finished
        }
    }

    /// A device as an argument: itself the last time, a clone before.
    fn pass(&mut self, device: usize) -> TokenStream {
        let variable = &self.variables[device];
        self.uses[device] = self.uses[device].saturating_sub(1);
        if self.uses[device] == 0 {
            quote!(#variable)
        } else {
            quote!(#variable.clone())
        }
    }
}

fn uses(graph: &Graph) -> Vec<usize> {
    let mut uses = vec![0; graph.devices.len()];
    let all = graph.devices.iter().flat_map(|device| &device.arguments);
    for argument in all.chain(&graph.arguments) {
        if let Argument::Device(at) = argument {
            uses[*at] += 1;
        }
    }
    uses
}

fn keys_struct<'a>(name: &FnPath, keys: impl Iterator<Item = KeyEntry<'a>>) -> TokenStream {
    let name = path(name);
    let fields = keys.map(|entry| {
        let field = ident(entry.field);
        let address = &entry.address;
        quote!(#field: runtime.check(#address, keys.get(#address))?)
    });
    quote!(#name { #(#fields),* })
}
