package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Duration is a length of time, written "30d", "720h", "90m" or "1d12h".
type Duration struct {
	time.Duration
	bare string // a number whose unit nobody knows; the checks refuse it
}

// Days gives n times 24 hours.
func Days(n int) Duration { return Duration{Duration: time.Duration(n) * 24 * time.Hour} }

// UnmarshalText reads days, then whatever time.ParseDuration reads.
func (d *Duration) UnmarshalText(b []byte) error {
	if _, err := strconv.ParseFloat(string(b), 64); err == nil {
		*d = Duration{bare: string(b)}
		return nil
	}
	s, days := string(b), time.Duration(0)
	if n, rest, ok := strings.Cut(s, "d"); ok {
		v, err := strconv.ParseUint(n, 10, 16)
		if err != nil {
			return fmt.Errorf("%q is no length of time", b)
		}
		days, s = time.Duration(v)*24*time.Hour, rest
		if s == "" {
			s = "0"
		}
	}
	v, err := time.ParseDuration(s)
	if err != nil || v < 0 || days+v < 0 {
		return fmt.Errorf("%q is no length of time", b)
	}
	*d = Duration{Duration: days + v}
	return nil
}

func (d Duration) String() string {
	v, s := d.Duration, ""
	if days := v / (24 * time.Hour); days > 0 {
		s, v = fmt.Sprintf("%dd", days), v%(24*time.Hour)
		if v == 0 {
			return s
		}
	}
	t := v.String()
	if strings.HasSuffix(t, "m0s") {
		t = strings.TrimSuffix(t, "0s")
	}
	if strings.HasSuffix(t, "h0m") {
		t = strings.TrimSuffix(t, "0m")
	}
	return s + t
}

// Size is a number of bytes, written "10240000", "25MB" or "25MiB".
type Size int64

var units = []struct {
	suffix string
	bytes  int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1}, {"", 1}}

// UnmarshalText reads a whole number and a unit.
func (z *Size) UnmarshalText(b []byte) error {
	s := string(b)
	for _, u := range units {
		if n, ok := strings.CutSuffix(s, u.suffix); ok {
			v, err := strconv.ParseInt(strings.TrimSpace(n), 10, 64)
			if err != nil || v < 0 || v > 1<<40/u.bytes {
				break
			}
			*z = Size(v * u.bytes)
			return nil
		}
	}
	return fmt.Errorf("%q is no size", b)
}

func (z Size) String() string { return strconv.FormatInt(int64(z), 10) + "B" }
