"""Metrics as Prometheus reads them."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from tests.support.http import Client


class Scrape:
    """What /metrics of one instance says now. Fails unless it is in the text format: each metric
    once, with type and help, its values together."""

    def __init__(self, admin: Client) -> None:
        response = admin.request("/metrics")
        assert response.status == 200, response.text
        assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        self.text = response.text
        self.types: dict[str, str] = {}
        self.helps: dict[str, str] = {}
        self._values: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        # The parser makes two families of one whose lines are apart, and of one without a type.
        heads = [line.split()[2] for line in self.text.splitlines() if line.startswith("# TYPE")]
        for family in text_string_to_metric_families(self.text):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            assert name not in self.types, f"{name} comes twice"
            assert family.documentation.endswith("."), name
            self.types[name] = family.type
            self.helps[name] = family.documentation
            for sample in family.samples:
                key = (sample.name, frozenset(sample.labels.items()))
                assert key not in self._values, f"{key} comes twice"
                self._values[key] = sample.value
        assert heads == list(self.types)

    def __call__(self, name: str, **labels: str) -> float:
        """The sum of all values of ``name`` with these labels; 0 without any."""
        wanted = set(labels.items())
        return sum(
            value for (found, of), value in self._values.items() if found == name and wanted <= of
        )

    def labels(self, name: str, label: str) -> set[str]:
        """The values of ``label`` that ``name`` has."""
        return {dict(of)[label] for found, of in self._values if found == name}

    def label_names(self, name: str) -> set[frozenset[str]]:
        """Which sets of labels the values of ``name`` have."""
        return {frozenset(dict(of)) for found, of in self._values if found == name}
