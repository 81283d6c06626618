"""The symbols of units and currencies, in every language. Their names are in the locale data (`cldr`)."""

from __future__ import annotations

from collections.abc import Mapping

DOLLARS, POUNDS = "USD", "GBP"
MINOR_UNITS = {DOLLARS: ("cent", "cents"), "EUR": ("cent", "cents"), POUNDS: ("penny", "pence")}
"""English says the name of the smaller unit; other languages say its number alone."""
UNIT_SYMBOLS: Mapping[str, str] = {
    "length-kilometer": "km",
    "length-meter": "m",
    "length-centimeter": "cm",
    "length-millimeter": "mm",
    "length-mile": "mi",
    "length-foot": "ft",
    "length-yard": "yd",
    "area-square-kilometer": "km² km2",
    "area-square-meter": "m² m2 qm ㎡",
    "area-square-centimeter": "cm²",
    "area-square-foot": "ft²",
    "area-hectare": "ha",
    "volume-cubic-meter": "m³ m3",
    "volume-cubic-centimeter": "cm³",
    "volume-liter": "l L",
    "volume-milliliter": "ml mL",
    "volume-centiliter": "cl",
    "mass-kilogram": "kg",
    "mass-gram": "g",
    "mass-milligram": "mg",
    "mass-pound": "lb lbs",
    "mass-ounce": "oz",
    "speed-kilometer-per-hour": "km/h kph",
    "speed-mile-per-hour": "mph",
    "speed-meter-per-second": "m/s",
    "temperature-celsius": "°C ℃",
    "temperature-fahrenheit": "°F",
    "angle-degree": "°",
    "concentr-percent": "%",
    "concentr-permille": "‰",
    "energy-kilowatt-hour": "kWh",
    "power-kilowatt": "kW",
    "power-watt": "W",
    "digital-kilobyte": "kB KB",
    "digital-megabyte": "MB",
    "digital-gigabyte": "GB",
    "digital-terabyte": "TB",
    "duration-minute": "min Min.",
    "duration-hour": "h Std.",
    "frequency-hertz": "Hz",
    "frequency-kilohertz": "kHz",
    "frequency-megahertz": "MHz",
    "frequency-gigahertz": "GHz",
    "electric-volt": "V",
    "pressure-bar": "bar",
    "pressure-hectopascal": "hPa",
    "energy-kilocalorie": "kcal",
    "energy-kilojoule": "kJ",
}
"""The symbols of each unit, by its name in the locale data, which adds those of the language."""
UNITS: Mapping[str, str] = {
    symbol: unit for unit, symbols in UNIT_SYMBOLS.items() for symbol in symbols.split()
}
"""The name of each unit in the locale data."""
PERCENT = UNITS["%"]
TIME_SPANS = ("duration-second", "duration-day", "duration-week", "duration-month", "duration-year")
"""Units of which only the names are known: their symbols are common letters."""
CURRENCIES: Mapping[str, str] = {
    **{"$": DOLLARS, "US$": DOLLARS, "€": "EUR", "£": POUNDS, "¥": "JPY", "₹": "INR", "₽": "RUB", "₺": "TRY"},
    **{"₩": "KRW", "₪": "ILS", "R$": "BRL", "CA$": "CAD", "A$": "AUD", "zł": "PLN", "Fr.": "CHF"},
    **{code: code for code in ("EUR", "USD", "GBP", "CHF", "JPY", "PLN", "SEK", "NOK", "DKK", "CAD", "AUD")},
}
"""The currency of each symbol and code."""
