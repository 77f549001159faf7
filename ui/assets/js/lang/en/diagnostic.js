// The server sends its diagnostics in English, so this language needs no texts for them.

export default {};
