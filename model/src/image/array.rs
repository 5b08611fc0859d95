//! A map of type array: every index has a value, and nearly all of them are zero.

const MAX_RUN: u32 = 1 << 21;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Array<T> {
    /// Never ends with a zero, so that equal content means equal arrays.
    cells: Vec<T>,
}

impl<T> Default for Array<T> {
    fn default() -> Self {
        Self { cells: Vec::new() }
    }
}

impl<T: Copy + Default + PartialEq> Array<T> {
    /// The value, zero if it was never set.
    pub fn get(&self, index: u32) -> T {
        self.cells.get(index as usize).copied().unwrap_or_default()
    }

    pub fn contains(&self, index: u32) -> bool {
        self.get(index) != T::default()
    }

    pub fn set(&mut self, index: u32, value: T) {
        self.write(index, &[value]);
    }

    pub fn write(&mut self, offset: u32, values: &[T]) {
        let start = offset as usize;
        let end = start + values.len();
        if self.cells.len() < end {
            self.cells.resize(end, T::default());
        }
        self.cells[start..end].copy_from_slice(values);
        self.trim();
    }

    pub fn clear(&mut self, offset: u32, length: u32) {
        let end = self.cells.len().min(offset as usize + length as usize);
        if let Some(cells) = self.cells.get_mut(offset as usize..end) {
            cells.fill(T::default());
        }
        self.trim();
    }

    /// The values of a run, zeros where nothing was ever set. A length that no map could hold, as
    /// a damaged row may name, is cut.
    pub fn run(&self, offset: u32, length: u32) -> impl Iterator<Item = T> {
        (0..length.min(MAX_RUN))
            .map(move |i| offset.checked_add(i).map_or(T::default(), |i| self.get(i)))
    }

    /// The entries that are there, by index.
    pub fn iter(&self) -> impl Iterator<Item = (u32, T)> {
        let cells = (0..).zip(self.cells.iter().copied());
        cells.filter(|(_, value)| *value != T::default())
    }

    pub fn ids(&self) -> impl Iterator<Item = u32> {
        self.iter().map(|(index, _)| index)
    }

    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// One more than the highest index that is there.
    pub fn end(&self) -> u32 {
        u32::try_from(self.cells.len()).unwrap_or(u32::MAX)
    }

    fn trim(&mut self) {
        while self.cells.last().is_some_and(|last| *last == T::default()) {
            self.cells.pop();
        }
    }
}
