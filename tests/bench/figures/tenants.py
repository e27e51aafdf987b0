"""Many tenants: a wave spread over all of them, making one, and migrating them."""

import os
import subprocess
import sys
import time
from statistics import median
from uuid import uuid4

from django.conf import settings

from directives.requests import request_many
from fleetprompt.tenants.context import in_tenant
from fleetprompt.tenants.provisioning import create_tenant
from tests.bench import clock
from tests.bench.figures.waves import SINGLY
from tests.bench.plan import Measurement, Row, Taken
from tests.bench.world import REQUESTER, World, hides

ALONE = "alone"
_MIGRATION = """from django.db import migrations


class Migration(migrations.Migration):
    dependencies = {dependencies}
    operations = [migrations.RunSQL("CREATE TABLE bench_{name} (id bigint PRIMARY KEY)")]
"""


def measure_spread(world: World) -> Taken:
    """Drain a wave of which each tenant has a few, from the first claim on."""
    return _drain_full_queue(world, world.many())


def measure_alone(world: World) -> Taken:
    """Drain a wave of one tenant in the same way."""
    return _drain_full_queue(world, [ALONE])


def _drain_full_queue(world: World, slugs: list[str]) -> Taken:
    """Request everything, then start a cluster: the clock runs from its first claim on."""
    batch, each = str(uuid4()), world.sizes.wave // len(slugs)
    for slug in slugs:
        posts = world.posts(slug, each)
        with in_tenant(slug):
            request_many(hides(posts, SINGLY), actor=REQUESTER, reason="spam", correlation_id=batch)
    world.settle()
    with world.cluster():
        clock.wait_until_drained(world, slugs)
    count = each * len(slugs)
    end = clock.ended_at(world, slugs, batch, count)
    return Taken(clock.rate(count, clock.started_at(world, slugs, batch), end))


def measure_new(world: World) -> Taken:
    """Make tenants, with domain and schema, ready to use."""
    taken = []
    for number in world.numbers(world.sizes.new_tenants):
        slug, begin = f"new{number}", time.perf_counter()
        create_tenant(slug, name=slug, domain=f"{slug}.bench.localhost")
        taken.append(time.perf_counter() - begin)
    return Taken(median(taken), series={"seconds": [round(seconds, 4) for seconds in taken]})


def measure_nothing(world: World) -> Taken:
    """Migrate all tenants, which have every migration, in a process as an operator starts it."""
    world.many()
    return Taken(_migrate())


def measure_migration(world: World) -> Taken:
    """Migrate all tenants by one more migration, which makes a table; return seconds for each."""
    folder = world.folder / "made_up"
    package = folder / "bench_migrations"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").touch()
    known = sorted(path.stem for path in package.glob("0*.py"))
    name = f"{len(known) + 1:04}_one_more"
    dependencies = [("bench", known[-1])] if known else []
    (package / f"{name}.py").write_text(_MIGRATION.format(dependencies=dependencies, name=name[:4]))
    [(tenants,)] = world.execute("SELECT count(*) FROM public.tenants_tenant")
    seconds = _migrate(BENCH_MIGRATIONS=str(folder))
    missing = [
        slug
        for slug in world.many()
        if not world.execute_in(slug, f"SELECT to_regclass('bench_{name[:4]}')")[0][0]
    ]
    if missing:
        raise clock.Unsound(f"{len(missing)} tenants were not migrated")
    return Taken(seconds / tenants, series={"tenants": tenants, "seconds": seconds})


def _migrate(**environment: str) -> float:
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "manage.py", "migrate_schemas"],
        cwd=settings.BASE_DIR,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise clock.Unsound(f"migrate_schemas: {done.stderr[-500:]}")
    return time.perf_counter() - begin


MEASUREMENTS = [
    Measurement("spread", "a wave over all tenants, from the first claim", "directives/s", measure_spread),
    Measurement("alone", "the same in one tenant", "directives/s", measure_alone),
    Measurement("new_tenant", "a new tenant, p50", "s", measure_new),
    Measurement("migrate_nothing", "migrate all tenants, nothing to do", "s", measure_nothing),
    Measurement(
        "migrate_one", "migrate by one more migration, a tenant", "s", measure_migration, once=True
    ),
]
ROWS = [
    Row("tenants", "wave over all tenants, against one", "spread", "alone", at_least=0.8),
    Row("new_tenant", "a new tenant, p50", "new_tenant", at_most=0.5),
    Row("migrate", "migrate all tenants, nothing to do", "migrate_nothing", at_most=30),
    Row("migrate", "migrate by one migration, a tenant", "migrate_one", at_most=0.1),
]
