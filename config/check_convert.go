package config

import (
	"slices"
	"strings"
	"time"
)

// converted are the ends of names that documents.convert takes, as convert.Kinds.
var converted = []string{"doc", "docx", "odt", "rtf", "xls", "xlsx", "ods", "pptx", "odp", "odg", "png", "jpg", "jpeg", "gif", "svg"}

// checkConversion refuses what LibreOffice could not do, or would do in vain.
// Whether it is there is for whoever starts it.
func (c *Config) checkConversion(bad func(field, format string, args ...any)) {
	d := c.Documents
	for _, k := range d.Convert {
		if !slices.Contains(converted, k) {
			bad("documents.convert", "%q is not converted, want some of %s", k, strings.Join(converted, ", "))
		}
	}
	if len(d.Convert) > 0 && (d.Format == "asic" || d.Format == "cades") {
		bad("documents.convert", "is set, although documents.format = %q signs files as they are, want auto or pdf", d.Format)
	}
	if d.Soffice == "" {
		bad("documents.soffice", "is empty, want for example soffice")
	}
	if t := d.ConvertTime; t.bare != "" {
		bad("documents.convert_time", "%s has no unit, want for example convert_time = \"45s\"", t.bare)
	} else if t.Duration < 5*time.Second || t.Duration > 2*time.Minute {
		bad("documents.convert_time", "%s is out of range, want 5s to 2m", t)
	}
	if m := d.ConvertMemory; m < 256<<20 || m > 16<<30 {
		bad("documents.convert_memory", "%s is out of range, want 256MiB to 16GiB", m)
	}
}
