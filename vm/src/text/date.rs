//! Civil time for `os.time` and `os.date`: seconds since 1970 to fields and back, and `strftime`.
//!
//! The calendar is the proleptic Gregorian one. Years are limited as in C, where `tm_year` is an `int` counted from
//! 1900. Names are English. The host says what time it is, and in which zone.

use super::number::{write_integer, write_zero_padded};
use crate::host::TimeZone;

/// A moment split into fields, as the table that `os.date("*t")` gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date {
    pub year: i64,
    /// 1 to 12.
    pub month: i64,
    /// 1 to 31.
    pub day: i64,
    pub hour: i64,
    pub minute: i64,
    pub second: i64,
    /// 1 to 7, 1 is Sunday.
    pub weekday: i64,
    /// 1 to 366.
    pub yearday: i64,
    /// How far the zone of the fields is ahead of UTC.
    pub seconds_east: i32,
}

/// Text of the error when [`Date::from_epoch`] gives `None`.
pub const DATE_UNREPRESENTABLE: &str = "date result cannot be represented in this installation";
/// Text of the error when [`to_epoch`] gives `None`.
pub const TIME_UNREPRESENTABLE: &str = "time result cannot be represented in this installation";

impl Date {
    /// The fields of the moment `seconds` after 1970-01-01T00:00:00Z in a zone; `None` when the year is out of range.
    pub fn in_zone(seconds: i64, zone: &TimeZone) -> Option<Self> {
        let date = Self::from_epoch(seconds.checked_add(i64::from(zone.seconds_east))?)?;
        Some(Self { seconds_east: zone.seconds_east, ..date })
    }

    /// The same in UTC.
    pub fn from_epoch(seconds: i64) -> Option<Self> {
        let days = seconds.div_euclid(SECONDS_PER_DAY);
        let second_of_day = seconds.rem_euclid(SECONDS_PER_DAY);
        let (year, month, day) = date_of_day(days);
        i32::try_from(year - 1900).ok()?;
        Some(Self {
            year,
            month,
            day,
            hour: second_of_day / 3600,
            minute: second_of_day / 60 % 60,
            second: second_of_day % 60,
            // 1970-01-01 was a Thursday.
            weekday: (days + 4).rem_euclid(7) + 1,
            yearday: days - day_of_date(year, 1, 1) + 1,
            seconds_east: 0,
        })
    }
}

/// The fields `os.time` takes, each as `field_in_range` passes it. They need not be in their usual range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields {
    pub year: i64,
    pub month: i64,
    pub day: i64,
    pub hour: i64,
    pub minute: i64,
    pub second: i64,
}

/// Whether a field of a date table fits the `int` that C keeps it in, counted from `base`: 1900 for the year, 1 for the
/// month, 0 for the others. If not, the error is "field '…' is out-of-bound".
pub fn field_in_range(value: i64, base: i64) -> bool {
    value.checked_sub(base).is_some_and(|counted| i32::try_from(counted).is_ok())
}

/// Seconds since 1970 of a local date, normalized as `mktime` does (month 14 is February of the next year). Every field must
/// have passed [`field_in_range`]. `None` when the year is out of range, or for the very second before 1970, whose -1
/// C Lua takes for an error.
///
/// `is_daylight_saving` says in which of two times the fields are; without it, a time that is there twice is the first, and
/// one that is skipped counts on from the time before. `zone` is asked for the zone of moments.
pub fn to_epoch(
    fields: &Fields,
    is_daylight_saving: Option<bool>,
    mut zone: impl FnMut(i64) -> TimeZone,
) -> Option<i64> {
    let local = as_if_utc(fields);
    Date::from_epoch(local)?;
    // No zone is a day away from UTC, so these are the zones on both sides of a change.
    let zones = [zone(local - SECONDS_PER_DAY), zone(local + SECONDS_PER_DAY)];
    let seconds_east = match is_daylight_saving {
        None => {
            let fits = |found: &&TimeZone, zone: &mut dyn FnMut(i64) -> TimeZone| {
                zone(local - i64::from(found.seconds_east)).seconds_east == found.seconds_east
            };
            zones.iter().find(|found| fits(found, &mut zone)).unwrap_or(&zones[0]).seconds_east
        }
        Some(wanted) => match zones.iter().find(|found| found.is_daylight_saving == wanted) {
            Some(found) => found.seconds_east,
            None => nearest_zone(local, wanted, &mut zone)
                .unwrap_or(zones[0].seconds_east + if wanted { DAYLIGHT_SAVING } else { -DAYLIGHT_SAVING }),
        },
    };
    let seconds = local - i64::from(seconds_east);
    Date::in_zone(seconds, &zone(seconds)).filter(|_| seconds != -1).map(|_| seconds)
}

/// What daylight saving time is ahead where there is none.
const DAYLIGHT_SAVING: i32 = 3600;
const SECONDS_PER_WEEK: i64 = 7 * SECONDS_PER_DAY;

/// The zone with or without daylight saving time that is in force nearest to a moment, within a year.
fn nearest_zone(moment: i64, is_daylight_saving: bool, zone: &mut impl FnMut(i64) -> TimeZone) -> Option<i32> {
    let distances = (1..=53).flat_map(|weeks| [-weeks * SECONDS_PER_WEEK, weeks * SECONDS_PER_WEEK]);
    let mut zones = distances.map(|distance| zone(moment + distance));
    zones.find(|found| found.is_daylight_saving == is_daylight_saving).map(|found| found.seconds_east)
}

/// The seconds since 1970 at which UTC has these fields.
fn as_if_utc(fields: &Fields) -> i64 {
    let months = fields.month - 1;
    let year = fields.year + months.div_euclid(12);
    let days = day_of_date(year, months.rem_euclid(12) + 1, 1) + fields.day - 1;
    days * SECONDS_PER_DAY + fields.hour * 3600 + fields.minute * 60 + fields.second
}

/// A conversion that C99's `strftime` does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidSpecifier<'a> {
    /// The rest of the format, from behind the "%".
    rest: &'a [u8],
}

impl InvalidSpecifier<'_> {
    /// The text of the Lua error, without the "bad argument" frame (argument 1 is to blame).
    pub fn message(&self) -> Vec<u8> {
        let shown = self.rest.split(|&byte| byte == 0).next().unwrap_or_default();
        [b"invalid conversion specifier '%", shown, b"'"].concat()
    }
}

/// Appends `date` by a `strftime` format (without the leading "!"). `zone` is what "%Z" shows: C Lua shows "GMT" for
/// formats with "!" and the name of the local zone for others.
pub fn write_date<'a>(
    date: &Date,
    mut format: &'a [u8],
    zone: &str,
    out: &mut Vec<u8>,
) -> Result<(), InvalidSpecifier<'a>> {
    while let Some((&byte, rest)) = format.split_first() {
        format = rest;
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let (specifier, after) = match rest {
            [b'E', specifier @ (b'c' | b'C' | b'x' | b'X' | b'y' | b'Y'), after @ ..] => (*specifier, after),
            [b'O', specifier, after @ ..] if b"deHImMSuUVwWy".contains(specifier) => (*specifier, after),
            [specifier, after @ ..] => (*specifier, after),
            [] => return Err(InvalidSpecifier { rest }),
        };
        write_specifier(date, specifier, zone, out).ok_or(InvalidSpecifier { rest })?;
        format = after;
    }
    Ok(())
}

const SECONDS_PER_DAY: i64 = 86_400;
const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// Appends one conversion; `None` if there is no such conversion.
fn write_specifier(date: &Date, specifier: u8, zone: &str, out: &mut Vec<u8>) -> Option<()> {
    let hour_of_twelve = (date.hour + 11) % 12 + 1;
    match specifier {
        b'a' => out.extend_from_slice(&name(&WEEKDAYS, date.weekday)[..3]),
        b'A' => out.extend_from_slice(name(&WEEKDAYS, date.weekday)),
        b'b' | b'h' => out.extend_from_slice(&name(&MONTHS, date.month)[..3]),
        b'B' => out.extend_from_slice(name(&MONTHS, date.month)),
        b'c' => write_all(date, "abeTY", b' ', out),
        b'C' => write_integer(date.year.div_euclid(100), out),
        b'd' => two_digits(date.day, out),
        b'D' | b'x' => write_all(date, "mdy", b'/', out),
        b'e' => {
            out.extend_from_slice(if date.day < 10 { b" " } else { b"" });
            write_integer(date.day, out);
        }
        b'F' => write_all(date, "Ymd", b'-', out),
        b'g' => two_digits(iso_week(date).0.rem_euclid(100), out),
        b'G' => write_integer(iso_week(date).0, out),
        b'H' => two_digits(date.hour, out),
        b'I' => two_digits(hour_of_twelve, out),
        b'j' => write_zero_padded(date.yearday.unsigned_abs(), 3, out),
        b'm' => two_digits(date.month, out),
        b'M' => two_digits(date.minute, out),
        b'n' => out.push(b'\n'),
        b'p' => out.extend_from_slice(if date.hour < 12 { b"AM" } else { b"PM" }),
        b'r' => {
            write_all(date, "IMS", b':', out);
            out.push(b' ');
            write_all(date, "p", b' ', out);
        }
        b'R' => write_all(date, "HM", b':', out),
        b'S' => two_digits(date.second, out),
        b't' => out.push(b'\t'),
        b'T' | b'X' => write_all(date, "HMS", b':', out),
        b'u' => write_integer((date.weekday + 5) % 7 + 1, out),
        b'U' => two_digits((date.yearday + 6 - (date.weekday - 1)) / 7, out),
        b'V' => two_digits(iso_week(date).1, out),
        b'w' => write_integer(date.weekday - 1, out),
        b'W' => two_digits((date.yearday + 6 - (date.weekday + 5) % 7) / 7, out),
        b'y' => two_digits(date.year.rem_euclid(100), out),
        b'Y' => write_integer(date.year, out),
        b'z' => {
            out.push(if date.seconds_east < 0 { b'-' } else { b'+' });
            let minutes = i64::from(date.seconds_east.unsigned_abs() / 60);
            two_digits(minutes / 60, out);
            two_digits(minutes % 60, out);
        }
        b'Z' => out.extend_from_slice(zone.as_bytes()),
        b'%' => out.push(b'%'),
        _ => return None,
    }
    Some(())
}

/// Appends several conversions with `separator` between them.
fn write_all(date: &Date, specifiers: &str, separator: u8, out: &mut Vec<u8>) {
    for (index, specifier) in specifiers.bytes().enumerate() {
        if index > 0 {
            out.push(separator);
        }
        // Only specifiers that exist and show no zone are used here.
        _ = write_specifier(date, specifier, "", out);
    }
}

fn name(names: &[&'static str], number: i64) -> &'static [u8] {
    let index = usize::try_from(number - 1).unwrap_or(0);
    names.get(index).map_or(b"???", |name| name.as_bytes())
}

fn two_digits(value: i64, out: &mut Vec<u8>) {
    write_zero_padded(value.unsigned_abs(), 2, out);
}

/// Year and week of ISO 8601: weeks start on Monday, week 1 holds the year's first Thursday.
fn iso_week(date: &Date) -> (i64, i64) {
    let days_since_monday = (date.weekday + 5) % 7;
    let day = day_of_date(date.year, 1, 1) + date.yearday - 1;
    let thursday = day - days_since_monday + 3;
    let (year, ..) = date_of_day(thursday);
    (year, (thursday - day_of_date(year, 1, 1)) / 7 + 1)
}

/// Days from 1970-01-01 to a date whose month is in range. Counts in years that start in March, so that the leap day
/// is the last day of its year.
fn day_of_date(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * DAYS_PER_ERA + day_of_era - DAYS_FROM_ERA_TO_EPOCH
}

/// The inverse of [`day_of_date`]: year, month, day.
fn date_of_day(day: i64) -> (i64, i64, i64) {
    let shifted = day + DAYS_FROM_ERA_TO_EPOCH;
    let (era, day_of_era) = (shifted.div_euclid(DAYS_PER_ERA), shifted.rem_euclid(DAYS_PER_ERA));
    let leap_days = day_of_era / 1460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day_of_month)
}

const DAYS_PER_ERA: i64 = 146_097;
/// From 0000-03-01 to 1970-01-01.
const DAYS_FROM_ERA_TO_EPOCH: i64 = 719_468;

#[cfg(test)]
mod tests {
    use super::*;

    fn show(format: &str, seconds: i64) -> String {
        let date = Date::from_epoch(seconds).expect("a date in range");
        let mut out = Vec::new();
        match write_date(&date, format.as_bytes(), "GMT", &mut out) {
            Ok(()) => String::from_utf8_lossy(&out).into_owned(),
            Err(error) => String::from_utf8_lossy(&error.message()).into_owned(),
        }
    }

    #[test]
    fn conversions() {
        for (format, seconds, expected) in [
            ("%c", 1_700_000_000, "Tue Nov 14 22:13:20 2023"),
            ("%x %X %D %F %T %R %r", 1_700_000_000, "11/14/23 22:13:20 11/14/23 2023-11-14 22:13:20 22:13 10:13:20 PM"),
            ("%U %V %W %G %g", 1_700_000_000, "46 46 46 2023 23"),
            ("%h %b %B %a %A", 1_700_000_000, "Nov Nov November Tue Tuesday"),
            ("%u %w %C %y %Y %z %Z%n%t%%", 1_700_000_000, "2 2 20 23 2023 +0000 GMT\n\t%"),
            ("%Ec|%EC|%Ey|%Od|%OI|%OV", 1_700_000_000, "Tue Nov 14 22:13:20 2023|20|23|14|10|46"),
            ("%c|%e|%I %p|%j", 0, "Thu Jan  1 00:00:00 1970| 1|12 AM|001"),
            ("%Y|%F|%G|%C|%c", -70_000_000_000, "-249|-249-10-15|-249|-3|Fri Oct 15 19:33:20 -249"),
            ("%Y %C %y %G %g", -62_135_596_801, "0 0 00 0 00"),
            ("%c", 67_768_036_191_676_799, "Wed Dec 31 23:59:59 2147485547"),
            ("x%Ez", 0, "invalid conversion specifier '%Ez'"),
            ("%kabc", 0, "invalid conversion specifier '%kabc'"),
            ("%", 0, "invalid conversion specifier '%'"),
            ("%E%", 0, "invalid conversion specifier '%E%'"),
            ("%P", 0, "invalid conversion specifier '%P'"),
        ] {
            assert_eq!(show(format, seconds), expected, "{format}");
        }
        assert_eq!(Date::from_epoch(67_768_036_191_676_800), None);
        assert_eq!(Date::from_epoch(i64::MAX), None);
        assert_eq!(Date::from_epoch(i64::MIN), None);
    }

    #[test]
    fn every_day_of_four_centuries_round_trips() {
        let mut previous = None;
        let days = if cfg!(miri) { 800 } else { DAYS_PER_ERA };
        for day in -days..days {
            let date = Date::from_epoch(day * SECONDS_PER_DAY + 3661).expect("a date in range");
            assert_eq!(day_of_date(date.year, date.month, date.day), day);
            if let Some((yearday, weekday)) = previous {
                assert!(date.yearday == yearday + 1 || date.yearday == 1 && date.month == 1 && date.day == 1);
                assert_eq!(date.weekday, weekday % 7 + 1);
            }
            previous = Some((date.yearday, date.weekday));
        }
    }

    /// An hour ahead of a zone two hours west in the second and third day of each week.
    fn changing_zone(seconds: i64) -> TimeZone {
        let is_daylight_saving = (1..3).contains(&seconds.div_euclid(SECONDS_PER_DAY).rem_euclid(7));
        let seconds_east = if is_daylight_saving { -3600 } else { -7200 };
        TimeZone { seconds_east, is_daylight_saving, name: String::new() }
    }

    #[test]
    fn daylight_saving() {
        // It begins at 22:00 of the first day, which is followed by 23:00, and ends at 23:00 of the third, followed by 22:00.
        for (day, hour, minute, claimed, expected) in [
            (1, 21, 59, None, (0, 23 * 60 + 59)),
            (1, 22, 30, None, (1, 30)),
            (1, 22, 30, Some(false), (1, 30)),
            (1, 22, 30, Some(true), (0, 23 * 60 + 30)),
            (1, 23, 0, None, (1, 0)),
            (2, 12, 0, None, (1, 13 * 60)),
            (2, 12, 0, Some(false), (1, 14 * 60)),
            (3, 22, 30, None, (2, 23 * 60 + 30)),
            (3, 22, 30, Some(true), (2, 23 * 60 + 30)),
            (3, 22, 30, Some(false), (3, 30)),
            (3, 23, 0, None, (3, 60)),
            (6, 12, 0, None, (5, 14 * 60)),
            (6, 12, 0, Some(true), (5, 13 * 60)),
        ] {
            let fields = Fields { year: 1970, month: 1, day, hour, minute, second: 0 };
            let (days, minutes) = expected;
            let seconds = to_epoch(&fields, claimed, changing_zone);
            assert_eq!(seconds, Some(days * SECONDS_PER_DAY + minutes * 60), "{fields:?} {claimed:?}");
        }
        let zone = changing_zone(SECONDS_PER_DAY);
        let date = Date::in_zone(SECONDS_PER_DAY, &zone).expect("a date in range");
        let mut out = Vec::new();
        assert_eq!(write_date(&date, b"%c %z %Z", "X", &mut out), Ok(()));
        assert_eq!(String::from_utf8_lossy(&out), "Thu Jan  1 23:00:00 1970 -0100 X");
        assert_eq!(Date::in_zone(i64::MIN, &zone), None);
    }

    #[test]
    fn normalization() {
        let fields = |year, month, day, hour, minute, second| Fields { year, month, day, hour, minute, second };
        for (fields, expected) in [
            (fields(2020, 14, -3, 25, -1, 100), Some(1_611_882_040)),
            (fields(2_147_485_547, 1, 1, 12, 0, 0), Some(67_768_036_160_184_000)),
            (fields(-2_147_481_748, 1, 1, 12, 0, 0), Some(-67_768_040_609_697_600)),
            (fields(2_147_485_547, 12, 31, 24, 0, 0), None),
            (fields(2_147_485_547, 2_147_483_647, 31, 24, 0, 0), None),
            (fields(2020, 2_147_483_648, 1, 12, 0, 0), Some(5_647_338_108_619_200)),
            (fields(1969, 12, 31, 23, 59, 59), None),
            (fields(1969, 12, 31, 23, 59, 58), Some(-2)),
            (fields(-2_147_481_748, 1, 0, 0, 0, 0), None),
        ] {
            assert_eq!(to_epoch(&fields, None, |_| TimeZone::utc()), expected, "{fields:?}");
        }
        assert!(field_in_range(2_147_485_547, 1900) && !field_in_range(2_147_485_548, 1900));
        assert!(field_in_range(-2_147_481_748, 1900) && !field_in_range(-2_147_481_749, 1900));
        assert!(!field_in_range(i64::MIN, 1) && field_in_range(2_147_483_648, 1));
    }
}
