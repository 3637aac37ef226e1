"""An engine in a scenario becomes a Run; power becomes joules. Meters are in `meters`, scenarios in `scenarios`."""
