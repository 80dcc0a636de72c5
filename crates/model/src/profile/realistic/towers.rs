//! Where towers stand, and how many people live near each.
//!
//! A place is a number: the country's people, lined up along a curve that fills the plane (Hilbert's),
//! so that near numbers are near places, and as many people live in one range of numbers as in another
//! one that is as long.

use super::law::{Choice, Quantiles};
use super::math::{exp, ln, pow};
use crate::random::{GOLDEN_GAMMA, mix};

/// Side of the country for one tower, in metres; it grows with the square root of their number.
const SPACING: f64 = 9_000.0;

/// Towers of a hundred that stand in the country.
const RURAL: u32 = 25;

/// Towers for each city.
const OF_CITY: u32 = 40;

/// The sizes of cities fall with the power of their rank.
const ZIPF: f64 = 0.9;

/// How far the towers of a city are from its middle on average, in metres, for one tower; it grows with
/// the square root of their number.
const CITY_RADIUS: f64 = 900.0;

/// How unequal the numbers of people near a tower are: standard deviation of the logarithm.
const PEOPLE_SIGMA: f64 = 1.3;

/// Order of the curve: each side of the country has 2^16 steps.
const ORDER: u32 = 16;

/// Neighbours that take over are no farther than this, in metres.
const NEIGHBOUR: u64 = 6_000;

/// A place, from 0 to 2^32 along the curve.
pub type Place = u32;

/// A point of the country, in metres.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Point {
    pub x: i32,
    pub y: i32,
}

#[derive(Clone, Debug)]
pub struct Towers {
    points: Vec<Point>,
    people: Choice,
    /// Two towers near each one, or itself where there are none.
    neighbours: Vec<[u16; 2]>,
    grid: Grid,
}

/// The tower that is nearest to the middle of each square.
#[derive(Clone, Debug)]
struct Grid {
    nearest: Vec<u16>,
    squares: i32,
    side: i32,
}

impl Point {
    /// In metres.
    #[inline]
    pub fn distance(self, other: Point) -> u32 {
        (self.square(other) as f64).sqrt() as u32
    }

    fn square(self, other: Point) -> u64 {
        let (x, y) = (i64::from(self.x - other.x), i64::from(self.y - other.y));
        (x * x + y * y) as u64
    }

    /// The point a part of the way to another one, of 2^16.
    #[inline]
    pub fn towards(self, other: Point, part: i64) -> Point {
        let step = |from: i32, to: i32| from + ((i64::from(to - from) * part) >> 16) as i32;
        Point { x: step(self.x, other.x), y: step(self.y, other.y) }
    }
}

impl Towers {
    /// `normal`: the normal law in 2^16ths.
    pub fn new(seed: u64, count: u16, normal: &Quantiles) -> Towers {
        let seed = mix(seed ^ 0x746F_7765_7273);
        let side = SPACING * f64::from(count).sqrt();
        let mut points = points(seed, count.into(), side);
        points.sort_by_key(|point| along_curve(*point, side as i32));
        let weight = |nth: usize| {
            let level = normal.of(mix(seed ^ 7 ^ (nth as u64) << 8) as u32) as f64 / 65_536.0;
            exp(PEOPLE_SIGMA * level)
        };
        let neighbours = (0..points.len()).map(|nth| neighbours(&points, nth)).collect();
        Towers {
            people: Choice::new((0..points.len()).map(weight)),
            neighbours,
            grid: Grid::new(&points, side as i32),
            points,
        }
    }

    /// The tower that serves a place, from 0.
    #[inline]
    pub fn at(&self, place: Place) -> u32 {
        self.people.of(place)
    }

    pub fn points(&self) -> &[Point] {
        &self.points
    }

    #[inline]
    pub fn point(&self, tower: u32) -> Point {
        self.points[tower as usize]
    }

    /// The tower that serves a point, more or less.
    #[inline]
    pub fn near(&self, point: Point) -> u32 {
        u32::from(self.grid.nearest[self.grid.square(point)])
    }

    #[inline]
    pub fn neighbour(&self, tower: u32, nth: usize) -> u32 {
        u32::from(self.neighbours[tower as usize][nth & 1])
    }
}

/// A draw as a share, neither 0 nor 1.
fn share(bits: u64) -> f64 {
    ((bits >> 11) as f64 + 0.5) / (1u64 << 53) as f64
}

fn points(seed: u64, count: u32, side: f64) -> Vec<Point> {
    let cities = (count / OF_CITY).max(1);
    let sizes = Choice::new((1..=cities).map(|rank| pow(f64::from(rank), -ZIPF)));
    let total: f64 = (1..=cities).map(|rank| pow(f64::from(rank), -ZIPF)).sum();
    let draw = |what: u64, nth: u32| share(mix(seed ^ what ^ u64::from(nth).wrapping_mul(GOLDEN_GAMMA)));
    let within = |x: f64| x.clamp(0.0, side - 1.0);
    let rural = count * RURAL / 100;
    let grid = rural.isqrt() + u32::from(rural.isqrt().pow(2) < rural);
    (0..count)
        .map(|nth| {
            let (x, y) = (draw(1, nth), draw(2, nth));
            if nth < rural {
                // One in each square of a grid, so that there is a tower everywhere.
                let square = nth * grid * grid / rural;
                let at =
                    |square: u32, within: f64| (f64::from(square) + within) * side / f64::from(grid);
                return Point { x: at(square % grid, x) as i32, y: at(square / grid, y) as i32 };
            }
            let city = sizes.of(mix(seed ^ 3 ^ u64::from(nth) << 8) as u32);
            let towers = f64::from(count) * pow(f64::from(city + 1), -ZIPF) / total;
            // A sum of draws in each direction: close to the middle there are most.
            let radius = -ln(x) * CITY_RADIUS * towers.sqrt();
            let (cosine, sine) = direction(seed, nth);
            let (middle_x, middle_y) = (draw(4, city) * side, draw(5, city) * side);
            Point {
                x: within(middle_x + radius * cosine) as i32,
                y: within(middle_y + radius * sine) as i32,
            }
        })
        .collect()
}

/// A direction, drawn without angles: points of a square that lie in its circle (von Neumann).
fn direction(seed: u64, nth: u32) -> (f64, f64) {
    let mut bits = mix(seed ^ 6 ^ u64::from(nth) << 8);
    loop {
        let (x, y) = (2.0 * share(bits) - 1.0, 2.0 * share(mix(bits ^ 1)) - 1.0);
        let square = x * x + y * y;
        if square > 1e-6 && square <= 1.0 {
            return (x / square.sqrt(), y / square.sqrt());
        }
        bits = mix(bits ^ 2);
    }
}

/// How far along Hilbert's curve a point lies.
fn along_curve(point: Point, side: i32) -> u64 {
    let steps = 1u64 << ORDER;
    let scaled = |x: i32| (x as u64 * steps / side.max(1) as u64).min(steps - 1);
    let (mut x, mut y, mut distance) = (scaled(point.x), scaled(point.y), 0);
    let mut half = steps / 2;
    while half > 0 {
        let (right, up) = (u64::from(x & half > 0), u64::from(y & half > 0));
        distance += half * half * ((3 * right) ^ up);
        if up == 0 {
            if right == 1 {
                x = (steps - 1) - x;
                y = (steps - 1) - y;
            }
            std::mem::swap(&mut x, &mut y);
        }
        half /= 2;
    }
    distance
}

/// The two nearest of those that stand close by along the curve.
fn neighbours(points: &[Point], nth: usize) -> [u16; 2] {
    let around = nth.saturating_sub(16)..(nth + 17).min(points.len());
    let mut found: Vec<(u64, usize)> = around
        .filter(|&other| other != nth)
        .map(|other| (points[nth].square(points[other]), other))
        .filter(|(square, _)| *square <= NEIGHBOUR * NEIGHBOUR)
        .collect();
    found.sort_unstable();
    [0, 1].map(|which| found.get(which).map_or(nth, |found| found.1) as u16)
}

impl Grid {
    fn new(points: &[Point], side: i32) -> Grid {
        // Some four squares for each tower.
        let squares = (2.0 * (points.len() as f64).sqrt()) as i32 + 1;
        let mut grid = Grid { nearest: Vec::new(), squares, side: side / squares + 1 };
        let mut nearest = vec![None; (squares * squares) as usize];
        for (nth, point) in points.iter().enumerate() {
            grid.closer(points, &mut nearest, grid.square(*point), nth as u16);
        }
        // What is nearest to a square is, almost always, what is nearest to one beside it.
        for pass in 0..4 {
            for nth in 0..nearest.len() {
                let nth = if pass % 2 == 0 { nth } else { nearest.len() - 1 - nth };
                for beside in grid.beside(nth) {
                    if let Some(tower) = nearest[beside] {
                        grid.closer(points, &mut nearest, nth, tower);
                    }
                }
            }
        }
        grid.nearest = nearest.into_iter().map(Option::unwrap_or_default).collect();
        grid
    }

    /// Keeps a tower for a square if it is the nearest so far.
    fn closer(&self, points: &[Point], nearest: &mut [Option<u16>], square: usize, tower: u16) {
        let middle = self.middle(square);
        let distance = |tower: u16| points[usize::from(tower)].square(middle);
        if nearest[square].is_none_or(|known| distance(tower) < distance(known)) {
            nearest[square] = Some(tower);
        }
    }

    #[inline]
    fn square(&self, point: Point) -> usize {
        let step = |x: i32| (x / self.side).clamp(0, self.squares - 1);
        (step(point.y) * self.squares + step(point.x)) as usize
    }

    fn middle(&self, square: usize) -> Point {
        let (x, y) = (square as i32 % self.squares, square as i32 / self.squares);
        Point { x: x * self.side + self.side / 2, y: y * self.side + self.side / 2 }
    }

    fn beside(&self, square: usize) -> impl Iterator<Item = usize> + use<> {
        let squares = self.squares;
        let (x, y) = (square as i32 % squares, square as i32 / squares);
        (-1..=1).flat_map(move |dy| (-1..=1).map(move |dx| (x + dx, y + dy))).filter_map(
            move |(x, y)| {
                let inside = (0..squares).contains(&x) && (0..squares).contains(&y);
                inside.then_some((y * squares + x) as usize)
            },
        )
    }
}
