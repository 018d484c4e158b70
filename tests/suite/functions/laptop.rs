//! `muster run --lambda` from a laptop.
