"""Arrays as PostgreSQL reads them."""

from django.db import connection
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fleetprompt.postgres.queries import array

TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))


@given(texts=st.lists(TEXT))
@example(texts=["", "NULL", "a,b", "{}", '"', "\\", '\\"', " a ", "\n\t", "%s", "'"])
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_array_holds_the_texts_that_it_was_made_of(database, texts):
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::text[]", [array(texts)])
        assert cursor.fetchone() == (texts,)
