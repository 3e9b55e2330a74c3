"""Views, parts, moved elements, order and running folds."""

from __future__ import annotations

from test.op_coverage.case import (
    EVERY,
    F32,
    FLOATS,
    NO_KERNEL,
    NUMERIC,
    WIDE,
    ZERO_SIGN,
    Case,
)
from test.op_coverage.pointwise_cases import cases


def views() -> list[Case]:
    """Other shapes of the same elements."""
    family = "views"
    texts = """x.T x.t() x.mT torch.t(x) x.permute(1,0) torch.permute(x,(1,0))
        x.transpose(0,1) x.swapaxes(0,1) torch.swapdims(x,0,1) x.movedim(0,1)
        torch.moveaxis(x,0,1) x.unsqueeze(0) x.unsqueeze(-1) x[None] x[:,None,:]
        x.unsqueeze(1).squeeze(1) x[None].squeeze() torch.atleast_2d(x)
        torch.atleast_3d(x) x.reshape(5,7) x.view(5,7) x.reshape(5,7,1)
        x.reshape(1,5,7) x.reshape(7,5) x.reshape(35) x.flatten() torch.ravel(x)
        x.reshape(-1) x.view(-1,5) x.flatten(0,1) x.unflatten(0,(1,5))
        row.expand(5,7) row.broadcast_to(5,7) row.expand_as(x) col.expand(-1,7)
        torch.broadcast_to(row,(5,7)) x.contiguous() x.view_as(y) x.adjoint()
        torch.broadcast_tensors(row,x) x.H"""
    return cases(family, EVERY, *texts.split(), layout="whole", exact=True)


def parts() -> list[Case]:
    """Parts of values, values of parts, and elements in other places."""
    family = "parts"
    texts = """x[0] x[:,0] x[1:3] x[:,2:6] x[::2] x[...,-1] x[2,3] x[-1] x[:,1::3]
        x.narrow(0,1,3) torch.narrow(x,1,2,4) x.select(1,3) torch.select(x,0,2)
        x.unbind(0) x.split(3,1) torch.split(x,[2,5],1) x.chunk(2,0) x.chunk(3,-1)
        torch.tensor_split(x,3,1) x.hsplit([3]) x.vsplit([2]) torch.cat([x,y])
        torch.cat([x,y],1) torch.cat([x,x[:,:2]],-1) torch.stack([x,y])
        torch.stack([x,y],-1) torch.stack([x,y,z],1) torch.hstack([x,y])
        torch.vstack([x,y]) torch.dstack([x,y]) torch.column_stack([x,y])
        torch.concat([x,y]) x.flip(0) x.flip(-1) torch.flip(x,(0,1)) torch.fliplr(x)
        torch.flipud(x) x.roll(2,1) x.roll(-1,0) torch.roll(x,3)
        torch.roll(x,(1,2),(0,1))
        torch.rot90(x) torch.rot90(x,2) x.repeat(2,1) x.tile((1,2)) torch.tile(x,(2,))
        x.repeat_interleave(2,0) x.repeat_interleave(3,dim=1) torch.gather(x,0,i)
        x.gather(1,i) torch.take_along_dim(x,i,1) x.index_select(1,c)
        torch.index_select(x,0,c) torch.take(x,i) x[c] x[:,c] F.pad(x,(1,2))
        F.pad(x,(0,0,1,1),value=1) torch.diagonal(x) x.diagonal() torch.diff(x)
        torch.tril(x) torch.triu(x,1) torch.constant_pad_nd(x,(1,1))
        torch.block_diag(x,y) torch.unbind(x,1) x.index_fill(1,c,2)
        F.one_hot(c,5)
        x.unfold(1,3,2)
        F.embedding(c,x) """
    kinds = (*F32, *(d for d in EVERY if d not in F32))
    found = cases(family, kinds, *texts.split(), layout="whole", exact=True)
    texts = "x.scatter(1,i,y) x.index_copy(0,c,y) x.scatter(1,i,2)"
    found += cases(
        family, kinds, *texts.split(), layout="whole", exact=True, **ZERO_SIGN
    )
    texts = "x.scatter_add(1,i,y) x.index_add(0,c,y) x.index_add(1,c,y[:,:5],alpha=2)"
    found += cases(family, kinds, *texts.split(), layout="whole", scale=4)
    text = "x.masked_scatter(m,y)"
    found += cases(family, F32, text, layout="whole", **NO_KERNEL)
    return found + cases(
        family,
        F32,
        "x.as_strided((2,2),(1,2))",
        layout="whole",
        refused="BackendUnsupported",
        note="device values have no strides",
    )


def order() -> list[Case]:
    """Sorts, the largest values, running folds."""
    family = "order"
    texts = """torch.sort(x,-1) x.sort(dim=1,descending=True) torch.argsort(x,-1)
        torch.sort(x,stable=True,dim=1) torch.msort(x) x.sort(0)
        torch.topk(x,3).values torch.kthvalue(x,3,-1).values
        torch.median(x,-1) x.median() torch.nanmedian(x,-1) torch.cummax(x,-1)
        torch.cummin(x,1) torch.sort(x).indices torch.argsort(x,stable=True)"""
    found = cases(family, NUMERIC, *texts.split(), layout="whole", exact=True)
    texts = "torch.topk(g,4,-1) torch.kthvalue(g,3,-1) g.topk(2,0,False)"
    found += cases(family, WIDE, *texts.split(), layout="whole", exact=True)
    found += cases(
        family,
        NUMERIC,
        "x.topk(3,dim=1,largest=False).values",
        layout="whole",
        exact=True,
        **ZERO_SIGN,
    )
    texts = """torch.trace(g) torch.cumsum(s,-1) s.cumsum(1) torch.cumprod(u,-1)
        s.cumsum(0)
        torch.cumsum(s,-1,dtype=torch.float32) torch.cumsum(g,1) g.cumprod(1)"""
    found += cases(family, NUMERIC, *texts.split(), layout="whole", scale=4)
    texts = "torch.histc(g,7,-1.5,2) g.histc(5) torch.histc(x,bins=9,min=0,max=3)"
    found += cases(family, WIDE, *texts.split(), layout="whole", exact=True)
    texts = """torch.logcumsumexp(g,-1) torch.quantile(g,0.25,-1)
        torch.quantile(x,0.6,1,keepdim=True) g.quantile(0.5,0,interpolation='lower')
        torch.nanquantile(x,0.5)
        torch.nanquantile(x,0.3,-1) x.nanquantile(0.7,0,keepdim=True)
        torch.cumulative_trapezoid(g,dim=1) g.logcumsumexp(0)"""
    return found + cases(family, F32, *texts.split(), layout="whole", scale=4)


def products() -> list[Case]:
    """The small linear algebra of two and three dims."""
    family = "products"
    texts = """g@n.T torch.mm(g,n.T) torch.matmul(g,n.T) g.matmul(row) g@row row@row
        torch.mv(g,row) torch.dot(row,row) torch.vdot(row,row) torch.inner(g,n)
        torch.outer(row,row) torch.ger(row,row) torch.addmm(n@n.T,g,n.T)
        torch.addmm(n@n.T,g,n.T,beta=2,alpha=0.5) torch.bmm(g[None],n.T[None])
        torch.baddbmm((n@n.T)[None],g[None],n.T[None]) torch.addmv(n[:,0],g,row)
        torch.addr(g,g[:,0],row) F.linear(g,n) F.linear(g,n,n[:,0])
        torch.einsum('ij,kj->ik',g,n) torch.einsum('ij->i',g)
        torch.tensordot(g,n,([1],[1])) torch.linalg.multi_dot([g,n.T,g])
        torch.kron(g,col) torch.cross(g[:,:3],n[:,:3],dim=1) torch.chain_matmul(g,n.T,g)
        torch.linalg.matmul(g,n.T)
        torch.addbmm(n@n.T,g[None],n.T[None]) torch.matrix_power(g@n.T,3)
        torch.linalg.vecdot(g,n) """
    found = cases(family, FLOATS, *texts.split(), layout="whole", scale=30)
    texts = "torch.cdist(g,n) torch.linalg.det(g@g.T) torch.linalg.inv(g@g.T)"
    found += cases(family, WIDE, *texts.split(), layout="whole", **NO_KERNEL)
    return found + cases(
        family,
        WIDE,
        "torch.cov(g)",
        "torch.corrcoef(g)",
        layout="whole",
        refused="DataDependentOutputShapeNotSupported",
        note="torch looks at values on its way",
    )


def random() -> list[Case]:
    """Shapes and dtypes of random tensors; the numbers are torch's on a GPU only."""
    texts = """torch.rand_like(x) torch.randn_like(x) torch.rand(x.shape)
        torch.randn(x.shape) F.dropout(x,0.5) torch.bernoulli(u) u.bernoulli()
        torch.randint(0,5,x.shape) torch.randint_like(x,9) torch.normal(g,p)
        x.uniform_(0,1) x.normal_() F.gumbel_softmax(g,dim=-1)"""
    texts = " ".join(f"({text})*0" for text in texts.split())
    facts = {"any_zero": True, "note": "only shape and dtype are compared"}
    return cases("random", F32, *texts.split(), layout="rows", **facts)


CASES = [*views(), *parts(), *order(), *products(), *random()]
