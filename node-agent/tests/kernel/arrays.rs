//! Arrays as the agent sees them, a window at a time, beside what the kernel says is in them.

use std::fs;

use anyhow::{Context, Result, ensure};
use aya::maps::{Array, Map, MapData};
use sluice_node_abi::{maps, values::Table};
use sluice_node_agent::{maps::ElementError, program::Refusal};
use zerocopy::transmute;

use crate::bed::Bed;

/// No map may have more of this process's memory: a window, an element, and the rest of its page.
const MOST: usize = (64 + 8) * 1024;

pub(crate) fn an_array_is_the_kernels_wherever_the_window_lies() -> Result<()> {
    let bed = Bed::start(Refusal::SetRetval)?;
    let tables = &bed.maps.tables;
    let length = tables.capacity();
    // The last elements before each border of windows, and the ends.
    let size = u32::try_from(size_of::<Table>())?;
    let borders = (1..)
        .map(|border| border * 64 * 1024 / size - 1)
        .take_while(|index| *index < length - 1);
    let indexes: Vec<u32> = [0].into_iter().chain(borders).chain([length - 1]).collect();
    ensure!(
        indexes.len() > 10,
        "{length} elements are too few to cross borders"
    );
    let table = |index: u32| Table {
        mode: 1,
        offset: index,
        length: index ^ 0xffff,
        counter: index.swap_bytes(),
        next: index,
        affinity: !index,
        ..Table::default()
    };
    // To and fro, so that the window moves for each.
    for (from, to) in indexes.iter().zip(indexes.iter().rev()) {
        tables.write(*from, table(*from))?;
        tables.write(*to, table(*to))?;
    }

    let map = MapData::from_pin(bed.pins.map(maps::TABLES))?;
    let kernels: Array<_, [u32; 16]> = Map::Array(map).try_into()?;
    for index in &indexes {
        let held: Table = transmute!(kernels.get(index, 0)?);
        ensure!(held == table(*index), "{index}: {held:?}");
        ensure!(tables.read(*index)? == table(*index), "{index}");
    }
    let mut found = Vec::new();
    tables.each(|index, value| found.push((index, value)))?;
    let wanted: Vec<_> = indexes
        .iter()
        .map(|index| (*index, table(*index)))
        .collect();
    ensure!(found == wanted, "{found:?}");

    let beyond = tables.read(length);
    ensure!(
        matches!(beyond, Err(ElementError::OutOfBounds { .. })),
        "{beyond:?}"
    );
    let largest = largest_mapping()?;
    println!(
        "{} bytes of tables, {largest} mapped",
        u64::from(length) * 24
    );
    ensure!(largest <= MOST, "{largest} bytes of a map are mapped");
    Ok(())
}

/// Bytes of this process's largest mapping of a map.
fn largest_mapping() -> Result<usize> {
    let text = fs::read_to_string("/proc/self/maps")?;
    let sizes = text
        .lines()
        .filter(|line| line.ends_with("bpf-map"))
        .map(|line| {
            let (from, rest) = line.split_once('-')?;
            let (to, _) = rest.split_once(' ')?;
            let address = |text| usize::from_str_radix(text, 16).ok();
            address(to)?.checked_sub(address(from)?)
        });
    let largest = sizes.max().context("no map is mapped")?;
    largest.context("a line of an unknown form")
}
