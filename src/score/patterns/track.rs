//! Regions that persist over lumisections.

use super::{
    region::{Region, join, root},
    settings::Side,
};
use crate::data::areas::Area;
use serde::{Deserialize, Serialize};

/// Default maximum number of LSs without a region between two regions of one track: about a minute.
pub const GAP: u32 = 2;

/// Regions of one layer and side of a run, connected by overlapping areas in neighbouring LSs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Track {
    /// The run.
    pub run: u32,
    /// Position of the layer.
    pub layer: usize,
    /// The side of its bad bins.
    pub side: Side,
    /// The first LS with a region.
    pub first_ls: u32,
    /// The last LS with a region.
    pub last_ls: u32,
    /// Number of LSs with a region.
    pub seen: usize,
    /// Number of regions.
    pub regions: usize,
    /// The smallest rectangle around all regions.
    pub area: Area,
    /// The largest number of bins in one LS.
    pub bins: usize,
    /// The sum of the squared errors of the bins.
    pub error: f64,
    /// Whether a region coincides with other layers in some LS.
    pub coincident: bool,
}

/// Connects regions of each run to tracks. Regions of two LSs with at most `gap` LSs between them
/// (by LS number, whether evaluated or not) belong together if their areas overlap. Rows are (run,
/// LS) and regions, each at most once, in any order. Tracks are sorted by run, first LS, layer,
/// side and area.
pub fn track<'a>(rows: impl IntoIterator<Item = (u32, u32, &'a [Region])>, gap: u32) -> Vec<Track> {
    let mut nodes: Vec<(u32, u32, &Region)> = rows
        .into_iter()
        .flat_map(|(run, ls, regions)| regions.iter().map(move |region| (run, ls, region)))
        .collect();
    let place = |(run, _, region): &(u32, u32, &Region)| (*run, region.layer, region.side);
    nodes.sort_by_key(|node| (place(node), node.1));
    let mut parent: Vec<usize> = (0..nodes.len()).collect();
    let mut start = 0;
    for (at, node) in nodes.iter().enumerate() {
        while place(&nodes[start]) != place(node) || node.1 - nodes[start].1 > gap.saturating_add(1)
        {
            start += 1;
        }
        for (before, other) in nodes.iter().enumerate().take(at).skip(start) {
            if other.1 < node.1 && other.2.area.common(node.2.area).is_some() {
                join(&mut parent, before, at);
            }
        }
    }
    let mut tracks: Vec<Track> = vec![];
    // The track of each node that is the first of its group, and the number of bins in its last LS
    // so far.
    let mut track_of = vec![(0, 0); nodes.len()];
    for (at, &(run, ls, region)) in nodes.iter().enumerate() {
        let root = root(&mut parent, at);
        if root == at {
            track_of[at] = (tracks.len(), 0);
            let Region { layer, side, area, .. } = *region;
            let (first_ls, last_ls) = (ls, ls);
            tracks.push(Track {
                run,
                layer,
                side,
                first_ls,
                last_ls,
                seen: 0,
                regions: 0,
                area,
                bins: 0,
                error: 0.0,
                coincident: false,
            });
        }
        let (track, bins) = &mut track_of[root];
        let track = &mut tracks[*track];
        if track.seen == 0 || track.last_ls != ls {
            (track.seen, track.last_ls, *bins) = (track.seen + 1, ls, 0);
        }
        *bins += region.bins;
        track.bins = track.bins.max(*bins);
        track.regions += 1;
        track.area = track.area.hull(region.area);
        track.error += region.error;
        track.coincident |= region.coincident;
    }
    tracks.sort_by_key(|track| (track.run, track.first_ls, track.layer, track.side, track.area));
    tracks
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn region(layer: usize, side: Side, x: (usize, usize), y: (usize, usize)) -> Region {
        let area = Area { x, y };
        Region {
            layer,
            side,
            area,
            bins: area.bins(),
            error: area.bins() as f64,
            coincident: x.0 == 0,
            spans: vec![],
        }
    }

    #[test]
    fn a_region_that_flickers_is_one_track_and_one_that_is_gone_for_long_is_two() {
        let here = [region(0, Side::Dead, (4, 12), (1, 3))];
        let moved =
            [region(0, Side::Dead, (12, 15), (3, 3)), region(0, Side::Hot, (4, 12), (1, 3))];
        let rows: Vec<(u32, u32, &[Region])> =
            vec![(7, 10, &here), (7, 11, &[]), (7, 13, &moved), (7, 17, &here), (8, 18, &here)];
        let tracks = track(rows.clone(), 2);
        let told: Vec<_> = tracks
            .iter()
            .map(|track| (track.run, track.side, track.first_ls, track.last_ls, track.seen))
            .collect();
        assert_eq!(
            told,
            [
                (7, Side::Dead, 10, 13, 2),
                (7, Side::Hot, 13, 13, 1),
                (7, Side::Dead, 17, 17, 1),
                (8, Side::Dead, 18, 18, 1)
            ]
        );
        assert_eq!(
            (tracks[0].area, tracks[0].bins, tracks[0].error),
            (Area { x: (4, 15), y: (1, 3) }, 27, 31.0)
        );
        assert_eq!(track(rows.clone(), 1).len(), 5);
        assert_eq!(track(rows, 3).len(), 3);
    }

    /// Rows of a few regions on a small map, so that many overlap.
    fn some_rows() -> impl Strategy<Value = Vec<(u32, u32, Vec<Region>)>> {
        let region = (0_usize..2, any::<bool>(), 0_usize..12, 0_usize..3, 0_usize..4, 0_usize..2)
            .prop_map(|(layer, dead, x, w, y, h)| {
                region(layer, if dead { Side::Dead } else { Side::Hot }, (x, x + w), (y, y + h))
            });
        let row = (0_u32..2, 1_u32..15, prop::collection::vec(region, 0..4));
        prop::collection::btree_map((0_u32..2, 1_u32..15), row, 0..16).prop_map(|rows| {
            rows.into_iter().map(|((run, ls), (_, _, regions))| (run, ls, regions)).collect()
        })
    }

    proptest! {
        #[test]
        fn tracks_are_the_groups_of_regions_that_hang_together(rows in some_rows(), gap in 0_u32..4) {
            let tracks = track(rows.iter().map(|(run, ls, regions)| (*run, *ls, regions.as_slice())), gap);
            // The groups by search from each region.
            let all: Vec<(u32, u32, &Region)> = rows.iter().flat_map(|(run, ls, regions)| regions.iter().map(move |region| (*run, *ls, region))).collect();
            let near = |a: usize, b: usize| {
                let ((run, ls, one), (other_run, other_ls, other)) = (all[a], all[b]);
                run == other_run && (one.layer, one.side) == (other.layer, other.side) && (1..=gap + 1).contains(&ls.abs_diff(other_ls))
                    && one.area.iou(other.area) > 0.0
            };
            let mut left: BTreeSet<usize> = (0..all.len()).collect();
            let mut expected = vec![];
            while let Some(start) = left.pop_first() {
                let (mut group, mut border) = (vec![start], vec![start]);
                while let Some(at) = border.pop() {
                    let next: Vec<usize> = left.iter().copied().filter(|&other| near(at, other)).collect();
                    next.iter().for_each(|at| _ = left.remove(at));
                    group.extend(&next);
                    border.extend(next);
                }
                let lumisections: BTreeSet<u32> = group.iter().map(|&at| all[at].1).collect();
                let bins = |ls: &u32| group.iter().filter(|&&at| all[at].1 == *ls).map(|&at| all[at].2.bins).sum::<usize>();
                let (run, _, region) = all[start];
                expected.push(Track {
                    run,
                    layer: region.layer,
                    side: region.side,
                    first_ls: *lumisections.first().unwrap(),
                    last_ls: *lumisections.last().unwrap(),
                    seen: lumisections.len(),
                    regions: group.len(),
                    area: group.iter().map(|&at| all[at].2.area).reduce(Area::hull).unwrap(),
                    bins: lumisections.iter().map(bins).max().unwrap(),
                    error: group.iter().map(|&at| all[at].2.error).sum(),
                    coincident: group.iter().any(|&at| all[at].2.coincident),
                });
            }
            prop_assert_eq!(tracks.iter().map(|track| track.regions).sum::<usize>(), all.len());
            prop_assert!(tracks.is_sorted_by_key(|track| (track.run, track.first_ls, track.layer, track.side, track.area)));
            let sorted = |mut tracks: Vec<Track>| {
                tracks.sort_by_key(|track| (track.run, track.first_ls, track.layer, track.side, track.area, track.last_ls, track.regions, track.bins));
                tracks
            };
            prop_assert_eq!(sorted(tracks), sorted(expected));
        }
    }
}
