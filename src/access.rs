//! What lines about single requests show of them.

pub mod mask;

use crate::setting::AnySetting;

/// The settings of this part.
pub static ALL: &[&dyn AnySetting] = &[&mask::MASK, &mask::MASK_PATHS];
