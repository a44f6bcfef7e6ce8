//! `@{upstream}` and `@{push}`: names that the configuration knows (gitrevisions(7)).

use std::borrow::Cow;

use irmin::RefName;

use super::{Known, here};
use crate::config::Config;
use crate::failure::{Failure, Result};
use crate::place::Place;

/// The text with the full name of what follows the other side, where it says `main@{upstream}`,
/// `@{u}` or `@{push}`.
pub fn expanded<'a>(place: &Place, text: &'a str) -> Result<Cow<'a, str>> {
    let Some((branch, rest)) = text.split_once("@{") else {
        return Ok(text.into());
    };
    let Some((word, rest)) = rest.split_once('}') else {
        return Ok(text.into());
    };
    let is_push = match &word.to_ascii_lowercase()[..] {
        "u" | "upstream" => false,
        "push" => true,
        _ => return Ok(text.into()),
    };
    let (config, current) = here(place)?;
    let branch = match branch {
        "" | "HEAD" => current,
        name => RefName::branch(name)?,
    };
    let found = match is_push {
        true => pushed(place, &config, &branch)?,
        false => upstream(place, &config, &branch)?,
    };
    let name = found.ok_or_else(|| {
        let short = branch.short();
        Failure::broken_with(
            format!("nothing here follows what {short} is merged with or pushed to"),
            format!("irmin push -u REMOTE {short} says what that is, and irmin fetch brings it"),
        )
    })?;
    Ok(format!("{name}{rest}").into())
}

fn upstream(place: &Place, config: &Config, branch: &RefName) -> Result<Option<RefName>> {
    let remote = Known::usual(config, branch);
    let Some(theirs) = Known::merged(config, branch) else {
        return Ok(None);
    };
    if remote == "." {
        return Ok(Some(RefName::new(theirs)?));
    }
    Ok(Known::find(place, config, remote)?.tracking(theirs))
}

fn pushed(place: &Place, config: &Config, branch: &RefName) -> Result<Option<RefName>> {
    let (remote, theirs) = Known::pushed(config, branch);
    Ok(Known::find(place, config, remote)?.tracking(&theirs))
}
