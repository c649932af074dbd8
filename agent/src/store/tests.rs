//! Laws of the whole store.
