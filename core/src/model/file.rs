//! The artifact's bytes, in a file (`.dwm`) and on `{p}/model/{digest}` alike.
//!
//! | bytes | content |
//! |---|---|
//! | 8 | magic `DWMODEL\0` |
//! | 2 | schema, little endian |
//! | 4 | payload length, little endian |
//! | n | payload: [`Model`] in postcard |
//! | 32 | SHA-256 of all before it |
//! | 2 | signature length, little endian; 0 while artifacts are not signed |
//! | m | signature |
//!
//! Nothing is parsed before size and digest are checked.

use alloc::vec::Vec;

use sha2::{Digest as _, Sha256};

use super::{Digest, Model, Unsound};

/// No artifact is larger: 64 families of 64 clusters of 40 features stay well below.
pub const MAX_ARTIFACT_BYTES: usize = 1 << 20;

const MAGIC: &[u8; 8] = b"DWMODEL\0";
const SCHEMA: u16 = 1;
const HEADER: usize = MAGIC.len() + 2 + 4;
const DIGEST: usize = 32;

/// Why bytes are not a model that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArtifactError {
    /// Larger than any model.
    #[error("{bytes} bytes, larger than any model")]
    TooLarge {
        /// How large.
        bytes: usize,
    },
    /// The magic is not there: some other file.
    #[error("not a Daywise model")]
    Foreign,
    /// Written by a newer build.
    #[error("model schema {found}; this build reads up to {SCHEMA}")]
    TooNew {
        /// The file's schema.
        found: u16,
    },
    /// Cut short, or longer than it says.
    #[error("the model is cut short or has bytes too many")]
    Length,
    /// The bytes are not those that were written.
    #[error("the model is damaged: its digest does not match")]
    Damaged,
    /// The digest is right but the content is not a model.
    #[error("the model's content cannot be read")]
    Content,
    /// It reads, but cannot be predicted with.
    #[error("the model is unsound")]
    Unsound(#[source] Unsound),
}

/// The artifact's bytes and its digest.
///
/// # Errors
/// The model is unsound or too large to be read back.
pub fn encode(model: &Model) -> Result<(Vec<u8>, Digest), ArtifactError> {
    model.check().map_err(ArtifactError::Unsound)?;
    let payload = postcard::to_allocvec(model).map_err(|_| ArtifactError::Content)?;
    let length = u32::try_from(payload.len()).map_err(|_| ArtifactError::Length)?;
    let mut bytes = Vec::with_capacity(HEADER + payload.len() + DIGEST + 2);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&SCHEMA.to_le_bytes());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&payload);
    let digest = Digest(Sha256::digest(&bytes).into());
    bytes.extend_from_slice(&digest.0);
    bytes.extend_from_slice(&0_u16.to_le_bytes());
    if bytes.len() > MAX_ARTIFACT_BYTES {
        return Err(ArtifactError::TooLarge { bytes: bytes.len() });
    }
    Ok((bytes, digest))
}

/// Reads an artifact: size, magic, schema, digest, content, soundness, in this order.
///
/// # Errors
/// The first check that fails.
pub fn decode(bytes: &[u8]) -> Result<(Model, Digest), ArtifactError> {
    if bytes.len() > MAX_ARTIFACT_BYTES {
        return Err(ArtifactError::TooLarge { bytes: bytes.len() });
    }
    let rest = bytes.strip_prefix(MAGIC).ok_or(ArtifactError::Foreign)?;
    let (schema, rest) = take_u16(rest)?;
    if schema > SCHEMA {
        return Err(ArtifactError::TooNew { found: schema });
    }
    let (length, rest) = rest.split_first_chunk::<4>().ok_or(ArtifactError::Length)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| ArtifactError::Length)?;
    let (payload, rest) = rest.split_at_checked(length).ok_or(ArtifactError::Length)?;
    let (stated, rest) = rest.split_first_chunk::<DIGEST>().ok_or(ArtifactError::Length)?;
    let (signature_length, signature) = take_u16(rest)?;
    if usize::from(signature_length) != signature.len() {
        return Err(ArtifactError::Length);
    }
    let covered = bytes.get(..HEADER + length).ok_or(ArtifactError::Length)?;
    let digest = Digest(Sha256::digest(covered).into());
    if digest.0 != *stated {
        return Err(ArtifactError::Damaged);
    }
    let model: Model = postcard::from_bytes(payload).map_err(|_| ArtifactError::Content)?;
    model.check().map_err(ArtifactError::Unsound)?;
    Ok((model, digest))
}

fn take_u16(bytes: &[u8]) -> Result<(u16, &[u8]), ArtifactError> {
    let (number, rest) = bytes.split_first_chunk::<2>().ok_or(ArtifactError::Length)?;
    Ok((u16::from_le_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use alloc::{string::ToString, vec};

    use super::*;
    use crate::{
        features::FeatureSet,
        model::{Cluster, Family, NoveltyTable, Scaling},
        quantity::Quantity,
        time::UtcMillis,
    };

    fn model() -> Model {
        let cluster = |id, centroid: [f32; 2]| Cluster {
            id,
            name: id.to_string(),
            size: 3,
            centroid: centroid.to_vec(),
        };
        Model {
            version: 7,
            parent: None,
            trained_at: UtcMillis(1_700_000_000_000),
            families: vec![Family {
                quantity: Quantity::Temperature,
                set: FeatureSet::Moments1,
                scaling: Scaling::None,
                scale: vec![1.0, 1.0],
                clusters: vec![cluster(0, [20.0, 1.0]), cluster(1, [30.0, 2.0])],
                novelty: NoveltyTable::from_distances([0.5, 1.0, 2.0]),
                sensor_days: 6,
                inertia: 5.25,
            }],
        }
    }

    #[test]
    fn an_artifact_reads_back_as_it_was_written() {
        let (bytes, digest) = encode(&model()).unwrap();
        assert_eq!(decode(&bytes), Ok((model(), digest)));
    }

    #[test]
    fn damage_anywhere_is_noticed() {
        let (bytes, _) = encode(&model()).unwrap();
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 0x40;
            assert!(decode(&damaged).is_err(), "byte {place} changed");
            assert!(decode(&bytes[..place]).is_err(), "cut at {place}");
        }
        assert_eq!(decode(b"PK\x03\x04 something else"), Err(ArtifactError::Foreign));
    }

    #[test]
    fn an_unsound_model_is_not_written() {
        let mut wrong = model();
        wrong.families[0].scale[1] = 0.0;
        assert!(matches!(encode(&wrong), Err(ArtifactError::Unsound(_))));
        let mut wrong = model();
        wrong.families[0].clusters[1].centroid.pop();
        assert!(matches!(encode(&wrong), Err(ArtifactError::Unsound(_))));
    }
}
