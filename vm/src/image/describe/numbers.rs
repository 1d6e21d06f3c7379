//! Numbers of objects by address, while nothing moves or is freed.
//!
//! Each object that a walk comes by is looked up, so a look-up and what may follow it, noting a new number, are one search.

/// Open addressing with linear steps; at most three quarters of the places are taken.
pub(super) struct Numbers {
    places: Vec<Place>,
    /// What is left of a hash of 64 bits is a place.
    shift: u32,
    taken: usize,
}

#[derive(Clone, Copy)]
struct Place {
    /// 0: free. No object lies there.
    address: usize,
    number: u32,
}

const FREE: Place = Place { address: 0, number: 0 };

impl Numbers {
    /// None, with room for so many.
    pub fn with_capacity(count: usize) -> Numbers {
        let places = (count + count / 2).next_power_of_two().max(64);
        Numbers { places: vec![FREE; places], shift: u64::BITS - places.trailing_zeros(), taken: 0 }
    }

    /// The number at this address, or `Err(new)`, which is its number from now on.
    #[inline]
    pub fn get_or_insert(&mut self, address: usize, new: u32) -> Result<u32, u32> {
        let mask = self.places.len() - 1;
        let mut index = hash(address, self.shift);
        loop {
            let place = &mut self.places[index & mask];
            if place.address == address {
                return Ok(place.number);
            }
            if place.address == 0 {
                *place = Place { address, number: new };
                self.taken += 1;
                if self.taken * 4 > self.places.len() * 3 {
                    self.grow();
                }
                return Err(new);
            }
            index += 1;
        }
    }

    #[cold]
    fn grow(&mut self) {
        let mut larger = Numbers::with_capacity(self.places.len());
        for place in self.places.iter().filter(|place| place.address != 0) {
            let _ = larger.get_or_insert(place.address, place.number);
        }
        *self = larger;
    }
}

/// Multiplication spreads addresses that follow each other.
#[inline]
fn hash(address: usize, shift: u32) -> usize {
    ((address as u64 >> 3).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> shift) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_keeps_its_first_number() {
        let count = if cfg!(miri) { 1_000 } else { 10_000 };
        let mut numbers = Numbers::with_capacity(0);
        let address = |number: u32| 0x1000 + number as usize * 24;
        for number in 0..count {
            assert_eq!(numbers.get_or_insert(address(number), number), Err(number));
            assert_eq!(numbers.get_or_insert(address(number / 2), u32::MAX), Ok(number / 2));
        }
        assert!((0..count).all(|number| numbers.get_or_insert(address(number), 0) == Ok(number)));
    }
}
