//! Media types by file name.

use std::string::String;

/// Extension, media type, and whether it is worth compressing.
const TYPES: &[(&str, &str, bool)] = &[
    // What a website is made of.
    ("html", "text/html; charset=utf-8", true),
    ("htm", "text/html; charset=utf-8", true),
    ("css", "text/css; charset=utf-8", true),
    ("js", "text/javascript; charset=utf-8", true),
    ("mjs", "text/javascript; charset=utf-8", true),
    ("json", "application/json", true),
    ("map", "application/json", true),
    ("wasm", "application/wasm", true),
    ("webmanifest", "application/manifest+json", true),
    ("xhtml", "application/xhtml+xml", true),
    ("xml", "application/xml", true),
    ("atom", "application/atom+xml", true),
    ("rss", "application/rss+xml", true),
    // Text.
    ("txt", "text/plain; charset=utf-8", true),
    ("text", "text/plain; charset=utf-8", true),
    ("log", "text/plain; charset=utf-8", true),
    ("md", "text/markdown; charset=utf-8", true),
    ("csv", "text/csv; charset=utf-8", true),
    ("ics", "text/calendar; charset=utf-8", true),
    ("vcf", "text/vcard; charset=utf-8", true),
    ("vtt", "text/vtt; charset=utf-8", true),
    ("rs", "text/plain; charset=utf-8", true),
    ("toml", "application/toml", true),
    ("yaml", "application/yaml", true),
    ("yml", "application/yaml", true),
    // Images.
    ("svg", "image/svg+xml", true),
    ("ico", "image/vnd.microsoft.icon", true),
    ("bmp", "image/bmp", true),
    ("png", "image/png", false),
    ("apng", "image/apng", false),
    ("jpg", "image/jpeg", false),
    ("jpeg", "image/jpeg", false),
    ("gif", "image/gif", false),
    ("webp", "image/webp", false),
    ("avif", "image/avif", false),
    ("tif", "image/tiff", false),
    ("tiff", "image/tiff", false),
    // Fonts. The two versions of WOFF are compressed themselves.
    ("woff", "font/woff", false),
    ("woff2", "font/woff2", false),
    ("ttf", "font/ttf", true),
    ("otf", "font/otf", true),
    // Sound and film.
    ("mp3", "audio/mpeg", false),
    ("ogg", "audio/ogg", false),
    ("oga", "audio/ogg", false),
    ("opus", "audio/ogg", false),
    ("flac", "audio/flac", false),
    ("wav", "audio/wav", false),
    ("m4a", "audio/mp4", false),
    ("mp4", "video/mp4", false),
    ("webm", "video/webm", false),
    ("ogv", "video/ogg", false),
    // Documents and archives.
    ("pdf", "application/pdf", false),
    ("epub", "application/epub+zip", false),
    ("gz", "application/gzip", false),
    ("zip", "application/zip", false),
    ("zst", "application/zstd", false),
    ("7z", "application/x-7z-compressed", false),
    ("tar", "application/x-tar", true),
];

/// The media type of a file of this name, and whether its content is likely to compress well.
pub(crate) fn of(path: &str) -> (&'static str, bool) {
    let name = path.rsplit('/').next().unwrap_or(path);
    let extension: Option<String> = name
        .rsplit_once('.')
        .map(|(_, extension)| extension.to_ascii_lowercase());
    let known = TYPES
        .iter()
        .find(|(known, ..)| Some(*known) == extension.as_deref());
    known.map_or(
        ("application/octet-stream", false),
        |(_, media_type, text)| (media_type, *text),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_extension_tells_the_type_in_any_case() {
        assert_eq!(of("index.html"), ("text/html; charset=utf-8", true));
        assert_eq!(of("a.b/LOGO.PNG"), ("image/png", false));
        assert_eq!(of("site.tar.gz"), ("application/gzip", false));
        assert_eq!(of("a.html/file"), ("application/octet-stream", false));
        assert_eq!(of("Makefile"), ("application/octet-stream", false));
    }

    #[test]
    fn no_extension_is_listed_twice() {
        for (index, (name, ..)) in TYPES.iter().enumerate() {
            assert!(
                TYPES
                    .iter()
                    .skip(index + 1)
                    .all(|(other, ..)| other != name),
                "{name}"
            );
        }
    }
}
