//! `#[derive(Merge)]` for the crate `irmin`, which tells how to use it (`irmin::merge::Fields`).

#![forbid(unsafe_code)]

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Expr, Field, Fields, Index, Member, parse_macro_input};

/// Merges a struct field by field: each with the merge function that `#[merge(...)]` on it names, or
/// with `equal()`.
#[proc_macro_derive(Merge, attributes(merge))]
pub fn merge(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    derived(&input)
        .unwrap_or_else(Error::into_compile_error)
        .into()
}

fn derived(input: &DeriveInput) -> Result<TokenStream, Error> {
    let Data::Struct(data) = &input.data else {
        return Err(Error::new_spanned(
            &input.ident,
            "Merge is derived for structs: the fields of others are not always there",
        ));
    };
    let fields = match &data.fields {
        Fields::Named(fields) => &fields.named,
        Fields::Unnamed(fields) => &fields.unnamed,
        Fields::Unit => {
            return Err(Error::new_spanned(
                &input.ident,
                "there is no field to merge",
            ));
        }
    };
    let merged = fields
        .iter()
        .enumerate()
        .map(|(at, field)| merged_field(at, field))
        .collect::<Result<Vec<_>, _>>()?;
    let name = &input.ident;
    let (generics, arguments, conditions) = input.generics.split_for_impl();
    Ok(quote! {
        impl #generics ::irmin::merge::Fields for #name #arguments #conditions {
            fn merge_fields(
                base: ::core::option::Option<&Self>,
                ours: &Self,
                theirs: &Self,
            ) -> ::core::result::Result<Self, ::irmin::merge::Refused> {
                ::core::result::Result::Ok(Self { #(#merged),* })
            }
        }
    })
}

fn merged_field(at: usize, field: &Field) -> Result<TokenStream, Error> {
    let member = match &field.ident {
        Some(name) => Member::Named(name.clone()),
        None => Member::Unnamed(Index::from(at)),
    };
    let mut merger = quote!(::irmin::merge::equal());
    for attribute in field
        .attrs
        .iter()
        .filter(|attribute| attribute.path().is_ident("merge"))
    {
        let named: Expr = attribute.parse_args()?;
        merger = quote!(#named);
    }
    let name = match &member {
        Member::Named(name) => name.to_string(),
        Member::Unnamed(index) => index.index.to_string(),
    };
    Ok(quote! {
        #member: ::irmin::merge::Merger::merge(
            &#merger,
            base.map(|base| &base.#member),
            &ours.#member,
            &theirs.#member,
        )
        .map_err(|refused| refused.inside(#name))?
    })
}
