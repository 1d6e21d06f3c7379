//! How a host's values in userdata become bytes: a codec for each type that the host registers. Function blobs, images and `_home` take the same
//! codec.

use std::any::Any;
use std::rc::Rc;

use cu_vm::image::UserdataCodec;

/// Codecs, asked one after another.
///
/// ```
/// use std::rc::Rc;
/// use cu_persist::{Codecs, Limits, Save, load_functions_with, save_function};
/// use cu_vm::{Options, Userdata, Value, Vm};
///
/// struct Point(u8, u8);
///
/// let codecs = Codecs::default().with::<Point>(
///     "point",
///     |point| Some(vec![point.0, point.1]),
///     |bytes| Some(Point(*bytes.first()?, *bytes.get(1)?)),
/// );
/// let codecs = Rc::new(codecs);
///
/// let mut vm = Vm::new(Options::default());
/// vm.enter(|context| {
///     let point = Value::Userdata(Userdata::new(context, Box::new(Point(3, 4))));
///     context.globals().set(context, Value::String(context.string(b"point")), point).unwrap();
/// });
/// let chunk = vm.load(b"local point = point; return function() return point end", "=get").unwrap();
/// let function = vm.run(&chunk, 1000, |context, results| context.stash(results[0])).unwrap();
/// let bytes = save_function(&vm, &function, &Save { userdata: codecs.clone(), ..Save::default() }).unwrap();
///
/// let mut vm = Vm::new(Options::default());
/// let functions = load_functions_with(&mut vm, &bytes, &Limits::default(), &*codecs).unwrap();
/// let sum = vm.run(&functions[0], 1000, |_, results| match results[0] {
///     Value::Userdata(userdata) => userdata.downcast::<Point>().map(|point| point.0 + point.1),
///     _ => None,
/// });
/// assert_eq!(sum, Ok(Some(7)));
/// ```
#[derive(Default, Clone)]
pub struct Codecs(Vec<Rc<dyn UserdataCodec>>);

impl Codecs {
    /// Registers a type under a name: how a value of it becomes bytes, and a value of bytes. Bytes come from outside: whatever they are, `load`
    /// gives a value that is as good as any, or `None`. `save` may refuse a value by `None`; the error names the path to it.
    #[must_use]
    pub fn with<T: 'static>(
        mut self,
        kind: &'static str,
        save: fn(&T) -> Option<Vec<u8>>,
        load: fn(&[u8]) -> Option<T>,
    ) -> Codecs {
        self.0.push(Rc::new(Typed { kind, save, load }));
        self
    }

    /// Adds a codec, such as the one of external tables.
    #[must_use]
    pub fn and(mut self, codec: Rc<dyn UserdataCodec>) -> Codecs {
        self.0.push(codec);
        self
    }
}

impl UserdataCodec for Codecs {
    fn save(&self, data: &dyn Any) -> Option<(String, Vec<u8>)> {
        self.0.iter().find_map(|codec| codec.save(data))
    }

    fn load(&self, kind: &str, bytes: &[u8]) -> Option<Box<dyn Any>> {
        self.0.iter().find_map(|codec| codec.load(kind, bytes))
    }
}

/// The codec of one type.
struct Typed<T> {
    kind: &'static str,
    save: fn(&T) -> Option<Vec<u8>>,
    load: fn(&[u8]) -> Option<T>,
}

impl<T: 'static> UserdataCodec for Typed<T> {
    fn save(&self, data: &dyn Any) -> Option<(String, Vec<u8>)> {
        let bytes = (self.save)(data.downcast_ref()?)?;
        Some((self.kind.to_owned(), bytes))
    }

    fn load(&self, kind: &str, bytes: &[u8]) -> Option<Box<dyn Any>> {
        if kind == self.kind { Some(Box::new((self.load)(bytes)?)) } else { None }
    }
}
