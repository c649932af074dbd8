use std::fs;

use daywise_core::{
    features::FeatureSet,
    model::{Cluster, Family, NoveltyTable, Scaling},
    quantity::Quantity,
    time::UtcMillis,
};
use tempfile::TempDir;

use super::{record::MAX_GIVEN_UP, *};

fn artifact(version: u32) -> Vec<u8> {
    let family = Family {
        quantity: Quantity::Generic,
        set: FeatureSet::Moments1,
        scaling: Scaling::None,
        scale: vec![1.0; 2],
        clusters: vec![Cluster { id: 0, name: String::new(), size: 1, centroid: vec![0.0; 2] }],
        novelty: NoveltyTable::from_distances([1.0]),
        sensor_days: 1,
        inertia: 0.0,
    };
    let trained_at = UtcMillis(0);
    let model = Model { version, parent: None, trained_at, families: vec![family] };
    model::encode(&model).unwrap().0
}

fn digest(version: u32) -> Digest {
    model::decode(&artifact(version)).unwrap().1
}

/// Version of the active and of the spare model.
fn versions(slots: &Slots) -> (Option<u32>, Option<u32>) {
    let version = |reference: Option<ModelRef>| reference.map(|reference| reference.version);
    assert_eq!(
        slots.active_model().map(|active| active.model.version),
        version(slots.active_ref()),
        "the model is what its reference says"
    );
    (version(slots.active_ref()), version(slots.spare_ref()))
}

fn open(dir: &TempDir) -> Slots {
    Slots::open(dir.path()).unwrap()
}

fn file(dir: &TempDir, name: &str) -> PathBuf {
    dir.path().join("models").join(name)
}

/// Model 1 confirmed in slot A, model 2 staged in slot B.
fn one_active_two_staged() -> (TempDir, Slots) {
    let dir = tempfile::tempdir().unwrap();
    let mut slots = open(&dir);
    slots.stage(&artifact(1)).unwrap();
    slots.start_trial().unwrap();
    slots.confirm().unwrap();
    slots.stage(&artifact(2)).unwrap();
    (dir, slots)
}

#[test]
fn a_fresh_gateway_has_no_model() {
    let dir = tempfile::tempdir().unwrap();
    let slots = open(&dir);
    assert_eq!(versions(&slots), (None, None));
    assert_eq!((slots.generation(), slots.on_trial()), (0, false));
    assert!(!dir.path().join("models").exists(), "opening only reads");
}

#[test]
fn a_model_is_staged_tried_and_confirmed() {
    let (dir, mut slots) = one_active_two_staged();
    assert_eq!(versions(&slots), (Some(1), Some(2)));
    slots.start_trial().unwrap();
    assert_eq!((versions(&slots), slots.on_trial()), ((Some(2), Some(1)), true));
    let reopened = open(&dir);
    assert_eq!((versions(&reopened), reopened.on_trial()), ((Some(2), Some(1)), true));
    slots.confirm().unwrap();
    let reopened = open(&dir);
    assert_eq!((versions(&reopened), reopened.on_trial()), ((Some(2), Some(1)), false));
}

#[test]
fn rolling_back_returns_to_the_other_slot_for_good() {
    let (dir, mut slots) = one_active_two_staged();
    slots.start_trial().unwrap();
    slots.roll_back().unwrap();
    for slots in [slots, open(&dir)] {
        assert_eq!((versions(&slots), slots.on_trial()), ((Some(1), Some(2)), false));
        assert_eq!(slots.given_up(), Some(digest(2)));
    }
}

#[test]
fn starts_within_a_trial_are_counted_across_restarts() {
    let (dir, mut slots) = one_active_two_staged();
    assert_eq!(slots.count_start().unwrap(), 0, "not on trial");
    slots.start_trial().unwrap();
    for expected in 1..=3 {
        assert_eq!(open(&dir).count_start().unwrap(), expected);
    }
}

#[test]
fn a_model_that_replaced_one_on_trial_returns_it_to_its_trial() {
    let (dir, mut slots) = one_active_two_staged();
    slots.start_trial().unwrap();
    slots.stage(&artifact(3)).unwrap();
    slots.start_trial().unwrap();
    slots.roll_back().unwrap();
    assert_eq!((versions(&slots), slots.on_trial()), ((Some(2), Some(3)), true));
    slots.roll_back().unwrap();
    assert_eq!(slots.active_ref(), None, "both were given up");
    let mut slots = open(&dir);
    assert_eq!(slots.active_ref(), None);
    slots.stage(&artifact(4)).unwrap();
    slots.start_trial().unwrap();
    assert_eq!(versions(&slots).0, Some(4));
}

#[test]
fn generations_only_go_up() {
    let (dir, mut slots) = one_active_two_staged();
    slots.set_generation(5).unwrap();
    slots.set_generation(4).unwrap();
    assert_eq!((slots.generation(), open(&dir).generation()), (5, 5));
}

#[test]
fn only_a_sound_model_is_staged() {
    let (dir, mut slots) = one_active_two_staged();
    let mut damaged = artifact(3);
    damaged[30] ^= 1;
    assert!(matches!(slots.stage(&damaged), Err(SlotsError::Artifact(ArtifactError::Damaged))));
    assert_eq!(versions(&open(&dir)), (Some(1), Some(2)), "the spare model is still there");
}

#[test]
fn the_list_of_models_given_up_is_bounded() {
    let (dir, mut slots) = one_active_two_staged();
    for version in 10..30 {
        slots.give_up(digest(version)).unwrap();
    }
    let slots = open(&dir);
    assert_eq!(slots.record.given_up.len(), MAX_GIVEN_UP);
    assert!(slots.is_given_up(digest(29)) && !slots.is_given_up(digest(10)));
}

// What a power cut can leave behind, step by step of a staging and a switch.

#[test]
fn a_power_cut_while_writing_the_spare_slot_leaves_the_slots_as_they_were() {
    let (dir, _) = one_active_two_staged();
    fs::write(file(&dir, "b.dwm.tmp"), &artifact(3)[..100]).unwrap();
    let mut slots = open(&dir);
    assert_eq!(versions(&slots), (Some(1), Some(2)));
    slots.stage(&artifact(3)).unwrap();
    assert_eq!(versions(&open(&dir)), (Some(1), Some(3)));
}

#[test]
fn a_power_cut_before_the_record_is_flipped_leaves_the_new_model_spare() {
    let (dir, _) = one_active_two_staged();
    fs::write(file(&dir, "b.dwm"), artifact(3)).unwrap();
    fs::write(file(&dir, "slots.tmp"), b"half a rec").unwrap();
    let mut slots = open(&dir);
    assert_eq!((versions(&slots), slots.on_trial()), ((Some(1), Some(3)), false));
    slots.start_trial().unwrap();
    assert_eq!(versions(&open(&dir)), (Some(3), Some(1)));
}

#[test]
fn a_power_cut_in_the_very_first_staging_leaves_no_model_active() {
    let dir = tempfile::tempdir().unwrap();
    let mut slots = open(&dir);
    slots.stage(&artifact(1)).unwrap();
    let mut slots = open(&dir);
    assert_eq!(versions(&slots), (None, Some(1)));
    slots.start_trial().unwrap();
    assert_eq!((versions(&open(&dir)), slots.on_trial()), ((Some(1), None), true));
}

#[test]
fn without_its_record_the_newest_sound_model_goes_on_trial() {
    for damage in [Some(&b"not a record"[..]), Some(b""), None] {
        let (dir, _) = one_active_two_staged();
        match damage {
            Some(bytes) => fs::write(file(&dir, "slots"), bytes).unwrap(),
            None => fs::remove_file(file(&dir, "slots")).unwrap(),
        }
        let mut slots = open(&dir);
        assert_eq!((versions(&slots), slots.on_trial()), ((Some(2), Some(1)), true));
        slots.roll_back().unwrap();
        assert_eq!(versions(&open(&dir)), (Some(1), Some(2)));
    }
    let (dir, _) = one_active_two_staged();
    fs::write(file(&dir, "slots"), b"").unwrap();
    fs::write(file(&dir, "b.dwm"), b"damaged").unwrap();
    let slots = open(&dir);
    assert_eq!((versions(&slots), slots.on_trial()), ((Some(1), None), false));
}

#[test]
fn a_damaged_active_model_gives_way_to_the_other_slot() {
    let (dir, mut slots) = one_active_two_staged();
    slots.start_trial().unwrap();
    let mut damaged = artifact(2);
    damaged[40] ^= 1;
    fs::write(file(&dir, "b.dwm"), damaged).unwrap();
    let mut slots = open(&dir);
    assert_eq!((versions(&slots), slots.on_trial()), ((Some(1), None), false));
    slots.stage(&artifact(3)).unwrap();
    let mut slots = open(&dir);
    assert_eq!(versions(&slots), (Some(1), Some(3)), "staged over the damaged file");
    slots.start_trial().unwrap();
    fs::remove_file(file(&dir, "a.dwm")).unwrap();
    fs::remove_file(file(&dir, "b.dwm")).unwrap();
    assert_eq!(versions(&open(&dir)), (None, None));
}

#[test]
fn a_model_that_was_given_up_does_not_come_back_by_damage() {
    let (dir, mut slots) = one_active_two_staged();
    slots.start_trial().unwrap();
    slots.roll_back().unwrap();
    fs::write(file(&dir, "a.dwm"), b"damaged").unwrap();
    assert_eq!(open(&dir).active_ref(), None);
}

#[test]
fn a_newer_builds_record_is_refused() {
    let (dir, _) = one_active_two_staged();
    let mut newer = fs::read(file(&dir, "slots")).unwrap();
    newer.truncate(newer.len() - 4);
    newer[0] = 9;
    let crc = crc32fast::hash(&newer);
    newer.extend_from_slice(&crc.to_le_bytes());
    fs::write(file(&dir, "slots"), newer).unwrap();
    assert!(matches!(Slots::open(dir.path()), Err(SlotsError::TooNew { found: 9 })));
}

#[test]
fn the_records_bytes_are_the_agreed_bytes() {
    let record = Record {
        active: Some(Slot::B),
        trial: Some(Trial { starts: 2, spare_unproven: true }),
        generation: 300,
        given_up: vec![Digest([7; 32])],
    };
    let bytes = encode_record(&record).unwrap();
    let mut expected = vec![1, 0, 1, 1, 1, 2, 1, 0xac, 0x02, 1];
    expected.extend([7; 32]);
    expected.extend(crc32fast::hash(&expected).to_le_bytes());
    assert_eq!(bytes, expected);
    assert_eq!(decode_record(&bytes).unwrap(), Some(record));
    for place in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[place] ^= 0x10;
        assert_eq!(decode_record(&damaged).unwrap(), None, "byte {place}");
    }
}
