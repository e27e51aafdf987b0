"""Pages of a community's forum for its readers. They only read: changes are directives."""

from uuid import UUID

from django.core.paginator import Paginator
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_safe

from fleetprompt.tenants.context import active_tenant
from forums.models import THREAD_ORDER, Post, Thread

POSTS_PER_PAGE = 50


def post_url(post: Post) -> str:
    """Return the address of a post: the page of its thread, and its place there."""
    earlier = Q(created_at__lt=post.created_at) | Q(created_at=post.created_at, pk__lt=post.pk)
    # The first condition is what an index can find.
    before = post.thread.posts.filter(earlier, created_at__lte=post.created_at).count()
    page = before // POSTS_PER_PAGE + 1
    return f"{reverse('thread', args=[post.thread_id])}?page={page}#post-{post.pk}"


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """List the community's threads, newest first, without hidden ones."""
    published = Count("posts", filter=Q(posts__status=Post.Status.PUBLISHED))
    # A query that counts forgets the model's own order.
    visible = Thread.objects.filter(is_hidden=False).select_related("category")
    threads = visible.annotate(published=published).order_by(*THREAD_ORDER)
    page = Paginator(threads, POSTS_PER_PAGE).get_page(request.GET.get("page"))
    return render(request, "forums/index.html", {"tenant": active_tenant(), "page": page})


@require_safe
def thread(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Show one thread, unless it is hidden; a hidden or deleted post leaves a note and not its text."""
    found = get_object_or_404(Thread.objects.select_related("category"), pk=pk, is_hidden=False)
    page = Paginator(found.posts.all(), POSTS_PER_PAGE).get_page(request.GET.get("page"))
    context = {"tenant": active_tenant(), "thread": found, "page": page}
    return render(request, "forums/thread.html", context)
