"""Measurements, one module for each kind; `tests.bench.catalog` lists all. Needs no Django."""

FIGURES = {
    "wave": "5,000 hides at once in one tenant, each by `execute`",
    "wave_many": "the same by `execute_many`",
    "trickle": "requests made one by one while the cluster drains them",
    "requesting": "how fast requests are taken",
    "latency": "from a request to its effect, on an idle system",
    "fairness": "the same while another tenant has 50,000 due",
    "tenants": "a wave over 1,000 tenants, against one tenant",
    "backlog": "a wave in a tenant with a long past, against a new one",
    "clusters": "two clusters, against one",
    "memory": "what a worker holds after 100,000 directives",
    "new_tenant": "making a tenant",
    "migrate": "migrating 1,000 tenants",
}
